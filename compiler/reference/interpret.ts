/**
 * The oracle: runs a program by evaluating every node's row in float64. It is the meaning that compiled code is held to,
 * so it has no shortcuts; a whole sequence is one sequence with positions from 0.
 */
import { bindPath } from "../graph/path.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { outputNodes, topologicalOrder } from "../graph/traverse.ts";
import type { Axis } from "../graph/type.ts";
import { formatType } from "../graph/type.ts";
import type { OpDef, Value } from "../ops/define.ts";
import { ops } from "../ops/table.ts";
import type { Sizes } from "../ops/values.ts";

export interface Bindings {
  /** By input name. */
  readonly inputs: Readonly<Record<string, Value>>;
  /** By path without `#`. */
  readonly params: (path: string) => Value;
  /** Values of size symbols, such as T. */
  readonly sizes: Readonly<Record<string, number>>;
}

/** The outputs of main by name. Throws where a binding is missing or does not have the axes that the type says. */
export function evaluateProgram(program: Program, bindings: Bindings): Record<string, Value> {
  return evaluateFunction(program, program.main, bindings);
}

/** The outputs of one function by name, its own inputs bound. `path` gives the indices for `#` in parameter paths. */
export function evaluateFunction(
  program: Program,
  fn: GraphFunction,
  bindings: Bindings,
  path = "",
): Record<string, Value> {
  const run = new Run(program, bindings);
  const values = run.evaluate(
    fn,
    path,
    fn.inputs.map((node) => run.input(node)),
  );
  return Object.fromEntries(fn.outputs.map((o, i) => [o.name, at(values, i)]));
}

/** Evaluates nodes outside of any program: for tests and for constants. */
export function evaluateNodes(nodes: readonly Node[], bindings: Bindings): readonly Value[] {
  const inputs = topologicalOrder(nodes).filter((node) => isOp(node, "input"));
  const main: GraphFunction = {
    name: "main",
    inputs,
    outputs: nodes.map((node, i) => ({ name: `${i}`, role: "result", node })),
  };
  const named = evaluateFunction({ main, functions: new Map() }, main, bindings);
  return nodes.map((_, i) => named[`${i}`]!);
}

class Run {
  readonly #program: Program;
  readonly #bindings: Bindings;
  readonly #sizes: Sizes;

  constructor(program: Program, bindings: Bindings) {
    this.#program = program;
    this.#bindings = bindings;
    this.#sizes = (dim) => dim.evaluate(bindings.sizes);
  }

  input(node: Node<"input">): Value {
    const value = this.#bindings.inputs[node.attrs.name];
    if (value === undefined) throw new Error(`input ${node.attrs.name} is not bound`);
    return this.#check(`input ${node.attrs.name}`, value, node);
  }

  /** Values of a function's outputs, in order. */
  evaluate(fn: GraphFunction, path: string, inputs: readonly Value[]): readonly Value[] {
    const values = new Map<Node, Value>(fn.inputs.map((node, i) => [node, at(inputs, i)]));
    // The parts of one call are several nodes; the function runs once.
    const calls = new Map<string, readonly Value[]>();
    for (const node of topologicalOrder(outputNodes(fn))) {
      if (values.has(node)) continue;
      const operands = node.inputs.map((input) => values.get(input)!);
      values.set(node, this.#node(node, operands, path, calls));
    }
    return fn.outputs.map((o) => values.get(o.node)!);
  }

  #node(node: Node, operands: readonly Value[], path: string, calls: Map<string, readonly Value[]>): Value {
    if (isOp(node, "input")) throw new Error(`input ${node.attrs.name} is not among the function's inputs`);
    if (isOp(node, "param")) {
      const name = bindPath(node.attrs.path, path);
      return this.#check(`parameter ${name}`, this.#bindings.params(name), node);
    }
    if (isOp(node, "call")) return this.#call(node, operands, path, calls);
    const row = ops[node.op] as OpDef<typeof node.op>;
    return row.evaluate(operands, node.attrs, node.type, this.#sizes);
  }

  #call(node: Node<"call">, operands: readonly Value[], path: string, calls: Map<string, readonly Value[]>): Value {
    const fn = this.#program.functions.get(node.attrs.fn);
    if (fn === undefined) throw new Error(`there is no function ${node.attrs.fn}`);
    const inner = bindPath(node.attrs.path, path);
    const key = `${fn.name} ${inner} ${node.inputs.map((n) => n.id).join(" ")}`;
    const results = calls.get(key) ?? this.evaluate(fn, inner, operands);
    calls.set(key, results);
    return at(results, node.attrs.part);
  }

  #check(what: string, value: Value, node: Node): Value {
    const fits = (axis: Axis, i: number) => {
      const own = value.axes[i];
      return own?.name === axis.name && own.size === this.#sizes(axis.size);
    };
    const count = value.axes.reduce((n, a) => n * a.size, 1);
    if (value.axes.length === node.type.axes.length && node.type.axes.every(fits) && count === value.data.length)
      return value;
    const has = value.axes.map((a) => `${a.name}=${a.size}`).join(", ");
    throw new Error(
      `${what} is ${formatType(node.type)}, but its value has [${has}] and ${value.data.length} elements`,
    );
  }
}

function at(values: readonly Value[], i: number): Value {
  const value = values[i];
  if (value === undefined) throw new Error(`value ${i} of ${values.length} is missing`);
  return value;
}
