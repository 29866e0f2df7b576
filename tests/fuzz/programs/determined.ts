/**
 * How far a result may be off. Programs at random have floors, comparisons and differences of large numbers, whose results one rounding more
 * or less decides. So the oracle runs again, several times, with each inexact result moved at random by about the error of the arithmetic
 * that is judged: an element is allowed a multiple of what that moves it, and one that jumps is not determined and is left out.
 * What is exact in that arithmetic (views, choices, whole numbers, short fractions) is not moved, so ties stay ties.
 */
import { bindPath } from "../../../compiler/graph/path.ts";
import type { GraphFunction, Node, Program } from "../../../compiler/graph/node.ts";
import { isOp } from "../../../compiler/graph/node.ts";
import { outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import type { OpName } from "../../../compiler/graph/attrs.ts";
import type { OpDef, Value } from "../../../compiler/ops/define.ts";
import { ops } from "../../../compiler/ops/table.ts";
import type { Bindings } from "../../../compiler/reference/interpret.ts";
import { Draw } from "../../support/random-models.ts";

/** An arithmetic: its relative error, how close results are expected where nothing amplifies it, and what is infinite in it. */
export interface Arithmetic {
  readonly error: number;
  readonly close: number;
  readonly largest: number;
}

export const float32: Arithmetic = { error: 2 ** -20, close: 2e-5, largest: 2 ** 127 };
export const float64: Arithmetic = { error: 2 ** -46, close: 1e-9, largest: Infinity };

/** Elements that differ by more than they may: as text, at most four. `undetermined` counts those that were left out. */
export interface Verdict {
  readonly wrong: readonly string[];
  readonly undetermined: number;
}

export interface Claim {
  /** Of the oracle, and those that are held to it: the elements at `places`, or all. */
  readonly output: string;
  readonly found: ArrayLike<number>;
  readonly places?: readonly number[];
}

/** Judges what an executor found against the oracle's values of the program's outputs. */
export function judge(
  program: Program,
  bindings: Bindings,
  expected: Readonly<Record<string, Value>>,
  claims: readonly Claim[],
  arithmetic: Arithmetic,
): Verdict {
  let undetermined = 0;
  const wrong: string[] = [];
  const moved: Readonly<Record<string, Value>>[] = [];
  /** How far the first so many ways to move the oracle's results bring an element. */
  const shiftOf = (output: string, at: number, ways: number): number => {
    while (moved.length < ways) {
      const k = moved.length;
      moved.push(evaluateMoved(program, bindings, arithmetic, k % 8 < 4 ? 1 : 4, new Draw(k)));
    }
    const x = expected[output]!.data[at]!;
    return moved.slice(0, ways).reduce((most, m) => Math.max(most, Math.abs(m[output]!.data[at]! - x)), 0);
  };
  for (const { output, found, places } of claims) {
    const { data } = expected[output]!;
    const at = places ?? data.map((_, i) => i);
    if (found.length !== at.length) wrong.push(`${output} has ${found.length} elements, not ${at.length}`);
    for (let i = 0; i < at.length && i < found.length; i++) {
      const x = data[at[i]!]!;
      const off = Math.abs(found[i]! - x);
      const size = Math.max(1, Math.abs(x));
      if (found[i] === x || off <= arithmetic.close * size) continue;
      const isRight = (shift: number): boolean => !(shift <= 1e-3 * size) || off <= arithmetic.close * size + 8 * shift;
      // What lies on a jump falls to the same side in a few ways now and then, in many never.
      const ways = wrong.length < 4 && !isRight(shiftOf(output, at[i]!, FEW)) ? MANY : FEW;
      const shift = shiftOf(output, at[i]!, ways);
      if (!isRight(shift)) wrong.push(`${output}[${at[i]}] is ${found[i]}, not ${x} (moved by at most ${shift})`);
      else if (!(shift <= 1e-3 * size)) undetermined++;
    }
  }
  return { wrong: wrong.slice(0, 4), undetermined };
}

/** Ways to move results: for every element that is off, and for one that would be wrong. */
const [FEW, MANY] = [8, 64];

/** The outputs of main with every inexact result moved by up to `times` the arithmetic's error. */
function evaluateMoved(
  program: Program,
  bindings: Bindings,
  arithmetic: Arithmetic,
  times: number,
  draw: Draw,
): Readonly<Record<string, Value>> {
  const inputs = program.main.inputs.map((n) => bindings.inputs[n.attrs.name]!);
  const moved = { ...arithmetic, error: arithmetic.error * times };
  const values = moveFunction(program, program.main, bindings, inputs, "", moved, draw);
  return Object.fromEntries(program.main.outputs.map((o, i) => [o.name, values[i]!]));
}

function moveFunction(
  program: Program,
  fn: GraphFunction,
  bindings: Bindings,
  inputs: readonly Value[],
  path: string,
  arithmetic: Arithmetic,
  draw: Draw,
): readonly Value[] {
  const values = new Map<Node, Value>(fn.inputs.map((n, i) => [n, inputs[i]!]));
  const calls = new Map<string, readonly Value[]>();
  for (const node of topologicalOrder(outputNodes(fn))) {
    if (values.has(node)) continue;
    const operands = node.inputs.map((n) => values.get(n)!);
    if (isOp(node, "param")) values.set(node, bindings.params(bindPath(node.attrs.path, path)));
    else if (isOp(node, "call")) {
      const inner = bindPath(node.attrs.path, path);
      const key = `${inner} ${node.inputs.map((n) => n.id).join(" ")}`;
      const callee = program.functions.get(node.attrs.fn)!;
      const results = calls.get(key) ?? moveFunction(program, callee, bindings, operands, inner, arithmetic, draw);
      calls.set(key, results);
      values.set(node, results[node.attrs.part]!);
    } else values.set(node, move(node, operands, bindings, arithmetic, draw));
  }
  return fn.outputs.map((o) => values.get(o.node)!);
}

function move(
  node: Node,
  operands: readonly Value[],
  bindings: Bindings,
  { error, largest }: Arithmetic,
  draw: Draw,
): Value {
  const row = ops[node.op] as OpDef<typeof node.op>;
  const sizes = (dim: { evaluate: (s: Bindings["sizes"]) => number }): number => dim.evaluate(bindings.sizes);
  let value: Value;
  try {
    value = row.evaluate(operands, node.attrs, node.type, sizes);
  } catch (thrown) {
    // An index that was moved out of its axis: nothing here is determined.
    if (!(thrown instanceof RangeError)) throw thrown;
    const axes = node.type.axes.map((a) => ({ name: a.name, size: sizes(a.size) }));
    return { axes, data: new Float64Array(axes.reduce((n, a) => n * a.size, 1)).fill(Number.NaN) };
  }
  // What is chosen or counted by something that has no value has none.
  const isChoice = node.type.dtype !== "f32" || node.op === "topk";
  if (operands.some((v, i) => (isChoice || node.inputs[i]!.type.dtype !== "f32") && !v.data.every(Number.isFinite)))
    return { ...value, data: value.data.fill(Number.NaN) };
  if (node.type.dtype !== "f32") return value;
  if (EXACT.has(node.op)) {
    const [x] = operands;
    const of = x === undefined ? undefined : added.get(x);
    // Under another index, what was added up is as large.
    if (of !== undefined && ops[node.op].lowering.kind === "view")
      added.set(value, row.evaluate([{ ...x!, data: of }], node.attrs, node.type, sizes).data);
    return value;
  }
  // The size of what was added up, which may be far larger than the sum.
  const sums = SUMS.has(node.op) && operands.every((v) => v.data.length > 0);
  const sized = sums
    ? row.evaluate(
        // Attention adds up its values, by weights that stay.
        // These may have been added up themselves, and passes may add in another order.
        operands.map((v, i) =>
          node.op === "attend" && i !== 2 ? v : { ...v, data: (added.get(v) ?? v.data).map(Math.abs) },
        ),
        node.attrs,
        node.type,
        sizes,
      ).data
    : value.data;
  const short = ROUNDED.has(node.op) && operands.every((v) => v.data.every((x) => isShort(x, 5)));
  const factor = LOOSE.has(node.op) ? 4 : 1;
  const angles = node.op === "sin" || node.op === "cos" ? operands[0]!.data : null;
  const data = value.data.map((x, i) => {
    if (short && isShort(x, 10) && Math.abs(sized[i] ?? x) < 2 ** 13) return x;
    // What was added up to it has no value on the way.
    if (Math.max(Math.abs(x), Math.abs(sized[i] ?? x)) > largest) return Number.NaN;
    const size = Math.max(Math.abs(x), Math.abs(sized[i]!)) + (angles === null ? 0 : 1 + Math.abs(angles[i] ?? 0));
    return x + (2 * draw.next() - 1) * error * factor * size;
  });
  const moved = { ...value, data };
  if (sums) added.set(moved, sized);
  return moved;
}

/** How large what was added up to a value was, by value. */
const added = new WeakMap<Value, Float64Array>();

/** A whole number of 2^-bits, not large. */
function isShort(x: number, bits: number): boolean {
  return Number.isInteger(x * 2 ** bits) && Math.abs(x) < 2 ** 13;
}

/** Results are operands, or decided by comparing. */
const EXACT: ReadonlySet<string> = new Set([
  ...([
    "input",
    "constant",
    "values",
    "neg",
    "abs",
    "sign",
    "floor",
    "cast",
    "detach",
    "max",
    "min",
    "select",
  ] as const),
  ...(["reduce_max", "reduce_min", "pool", "rename", "split", "merge", "slice", "roll", "broadcast"] as const),
  ...(["transpose", "concat", "take", "topk", "delay"] as const),
] satisfies OpName[]);

/** Rounded once or never: exact where the result has few bits. */
const ROUNDED: ReadonlySet<string> = new Set([
  "add",
  "sub",
  "mul",
  "sum",
  "dot",
  "cumsum",
  "spread",
] satisfies OpName[]);

/** Where adding up loses what cancels. */
const SUMS: ReadonlySet<string> = new Set([
  "add",
  "sum",
  "dot",
  "cumsum",
  "spread",
  "scan",
  "delta_rule",
  "attend",
] satisfies OpName[]);

/** Functions that shading languages are allowed a larger error in. */
const LOOSE: ReadonlySet<string> = new Set([
  ...(["exp", "log", "sin", "cos", "tanh", "erf", "sigmoid", "pow", "attend", "delta_rule"] as const),
] satisfies OpName[]);
