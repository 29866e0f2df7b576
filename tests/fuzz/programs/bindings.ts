/** What a program is given for one of its sequences, and the tables that the compiler fills for it. */
import type { Program } from "../../../compiler/graph/node.ts";
import { isOp } from "../../../compiler/graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import type { TensorType } from "../../../compiler/graph/type.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import type { Table } from "../../../compiler/plan/plan.ts";
import { evaluateScalar } from "../../../compiler/plan/scalar.ts";
import type { Bindings } from "../../../compiler/reference/interpret.ts";
import { type Kind, drawValue } from "./values.ts";

export interface Given extends Bindings {
  readonly sizes: Readonly<{ T: number }>;
}

/** Inputs are each sequence's own, parameters are those of all. */
export function bind(program: Program, kind: Kind, T: number, sequence: number): Given {
  const sizes = { T };
  const inputs = program.main.inputs.map((n) => [n.attrs.name, drawValue(n.attrs.name, n.type, sizes, kind, sequence)]);
  return { inputs: Object.fromEntries(inputs) as Given["inputs"], params: paramsOf(program, kind), sizes };
}

export function paramsOf(program: Program, kind: Kind): (path: string) => Value {
  const types = new Map<string, TensorType>();
  for (const fn of allFunctions(program))
    for (const node of topologicalOrder(outputNodes(fn)))
      if (isOp(node, "param")) types.set(node.attrs.path, node.type);
  const made = new Map<string, Value>();
  return (path) => {
    const known = made.get(path);
    if (known !== undefined) return known;
    const value = drawValue(path, types.get(path) ?? types.get(path.replaceAll(/\[\d+\]/g, "[#]"))!, {}, kind);
    made.set(path, value);
    return value;
  };
}

/** All elements of a table, whose position goes to `P`. */
export function fillTable(table: Table, P: number): Value {
  const axes = table.axes.map((a) => ({ name: a.name, size: a.size === "P" ? P : Number(a.size) }));
  const data = new Float64Array(axes.reduce((n, a) => n * a.size, 1)).map((_, at) => {
    const index: Record<string, number> = {};
    let rest = at;
    for (const { name, size } of axes.toReversed()) {
      index[name] = rest % size;
      rest = Math.floor(rest / size);
    }
    return evaluateScalar(table.expr, index);
  });
  return { axes, data };
}
