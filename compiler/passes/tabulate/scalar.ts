/**
 * A node that only positions, indices and constants decide, as a scalar expression over its axes' names; also one of the numbers that a
 * step is given, by their names.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { ScalarName } from "../../graph/scalar.ts";
import type { Axis, DType } from "../../graph/type.ts";
import { OWN, findAxis } from "../../graph/type.ts";
import type { ScalarExpr } from "../../plan/scalar.ts";

/** The name of the position in expressions and tables. */
export const POSITION = OWN.position;

export type Environment = ReadonlyMap<string, ScalarExpr>;

export function scalarOf(node: Node, env: Environment): ScalarExpr {
  const [x] = node.inputs;
  if (isOp(node, "constant")) return node.attrs.value;
  if (isOp(node, "position")) return POSITION;
  if (isOp(node, "input")) return read(env, node.attrs.name);
  if (isOp(node, "iota")) return read(env, node.attrs.axis.name);
  if (isOp(node, "values")) return ["entry", read(env, node.attrs.axis.name), ...node.attrs.values];
  if (x === undefined) throw new Error(`${node.op} has no scalar form`);
  if (isOp(node, "rename")) return scalarOf(x, move(env, node.attrs.to, [[node.attrs.from, read(env, node.attrs.to)]]));
  if (isOp(node, "broadcast") || isOp(node, "transpose")) return scalarOf(x, env);
  if (isOp(node, "slice")) {
    const { axis, start, to } = node.attrs;
    return scalarOf(x, move(env, to.name, [[axis, ["add", read(env, to.name), start]]]));
  }
  if (isOp(node, "roll")) {
    const { axis, by } = node.attrs;
    return scalarOf(x, new Map(env).set(axis, ["mod", ["add", read(env, axis), by], sizeOf(x, axis)]));
  }
  if (isOp(node, "split")) {
    const { axis, into } = node.attrs;
    const flat = into.reduce<ScalarExpr>((sum, a) => ["add", ["mul", sum, number(a)], read(env, a.name)], 0);
    return scalarOf(x, new Map(env).set(axis, flat));
  }
  if (isOp(node, "merge")) {
    const { axes, to } = node.attrs;
    let below = 1;
    const parts = [...axes].reverse().map((name): [string, ScalarExpr] => {
      const part: ScalarExpr = ["mod", ["floor", ["div", read(env, to.name), below]], sizeOf(x, name)];
      below *= sizeOf(x, name);
      return [name, part];
    });
    return scalarOf(x, move(env, to.name, parts));
  }
  if (isOp(node, "concat")) {
    const { axis, to } = node.attrs;
    const i = read(env, to.name);
    let end = node.inputs.reduce((sum, part) => sum + sizeOf(part, axis), 0);
    return [...node.inputs].reverse().reduce<ScalarExpr | null>((rest, part) => {
      const start = (end -= sizeOf(part, axis));
      const own = scalarOf(part, move(env, to.name, [[axis, ["sub", i, start]]]));
      return rest === null ? own : ["select", ["lt", i, start + sizeOf(part, axis)], own, rest];
    }, null)!;
  }
  const operands = node.inputs.map((input) => scalarOf(input, env));
  if (isOp(node, "cast")) return convert(operands[0]!, node.attrs.to);
  return wholeOf(node, operands);
}

/** What the host's numbers are as this dtype, as ops' `cast` has it. */
function convert(x: ScalarExpr, to: DType): ScalarExpr {
  switch (to) {
    case "f32":
      return x;
    case "u32":
      return ["min", ["max", ["trunc", x], 0], 0xffffffff];
    case "i32":
      return ["min", ["max", ["trunc", x], -0x80000000], 0x7fffffff];
    case "bool":
      return ["ne", x, 0];
    default:
      return to satisfies never;
  }
}

/** The host computes in floats: whole numbers are divided towards zero, and wrap where 32 bits end. */
function wholeOf(node: Node, operands: readonly ScalarExpr[]): ScalarExpr {
  const { dtype } = node.type;
  const made: ScalarExpr = [node.op, ...operands];
  if (dtype !== "u32" && dtype !== "i32") return made;
  if (isOp(node, "div")) return [dtype, ["trunc", made]];
  if (isOp(node, "mul")) return [dtype, ["imul", ...operands]];
  return WRAPPING.has(node.op) ? [dtype, made] : made;
}

/** Of whole numbers, results may lie beyond 32 bits. */
const WRAPPING: ReadonlySet<string> = new Set(["add", "sub", "neg", "abs"] satisfies ScalarName[]);

function move(env: Environment, from: string, to: readonly (readonly [string, ScalarExpr])[]): Environment {
  return new Map([...[...env].filter(([name]) => name !== from), ...to]);
}

function read(env: Environment, name: string): ScalarExpr {
  const expr = env.get(name);
  if (expr === undefined) throw new Error(`nothing is known of ${name}`);
  return expr;
}

function sizeOf(node: Node, name: string): number {
  return number(findAxis(node.type, name)!);
}

function number(axis: Axis): number {
  return axis.size.value ?? Number.NaN;
}
