/**
 * The verbs of upcyclings. Each takes arrays apart or puts them together along an axis of the target, by its name; parameters
 * that lack the axis pass unchanged.
 */
import type { CallExpr, Expr } from "../../grammar/ast.ts";
import { evaluate, report } from "../interpret/context.ts";
import type { Init } from "../interpret/value.ts";
import { fillInit } from "../model/init.ts";
import {
  addArrays,
  type ArrayValue,
  concatArrays,
  type Demand,
  findAxis,
  pickArray,
  resizeDemand,
  sliceArray,
  type Tree,
} from "./array.ts";
import { constantOf, meanOf, rootName, sourcePath, sourceTree, type UpcycleScope } from "./source.ts";
import { ABSENT, contiguousView } from "./view.ts";

type Verb = (call: CallExpr, where: UpcycleScope, inner: (expr: Expr) => Tree | null) => Tree | null;

/** The verb that a call names; null for a function. */
export function findVerb({ callee }: CallExpr): Verb | null {
  const head = callee.kind === "bracket" ? callee.object : callee;
  return head.kind === "name" && Object.hasOwn(VERBS, head.name.text) ? VERBS[head.name.text]! : null;
}

const VERBS: Readonly<Record<string, Verb>> = {
  mean,
  /** `shard[F -> G](x, g)`: the g-th of G equal parts along F. */
  shard: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const parts = wholeOf(call, where, arrowTo(call));
      const index = wholeOf(call, where, call.args[1]?.value);
      const size = demand.axes[axis]!.size;
      if (parts === null || index === null || size === null) return null;
      if (index < 0 || index >= parts) return refuse(call, where, `there is no part ${index} of ${parts}`);
      const whole = tree(resizeDemand(demand, axis, size * parts), partial);
      return whole === null ? null : sliceArray(whole, axis, index * size, size);
    }),
  /** `repeat[N](x, G)`: each index along N G times, one after the other. */
  repeat: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const times = wholeOf(call, where, call.args[1]?.value);
      const size = demand.axes[axis]!.size;
      if (times === null || size === null) return null;
      if (times < 1 || size % times !== 0)
        return refuse(call, where, `${size} of \`${demand.axes[axis]!.name}\` are not ${times} of each`);
      const once = tree(resizeDemand(demand, axis, size / times), partial);
      const indices = Int32Array.from({ length: size }, (_, i) => Math.floor(i / times));
      return once === null ? null : pickArray(once, axis, indices);
    }),
  /** `shuffle[F](x, l, seed: 1)`: another order along F, one per seed and per number that follows x. */
  shuffle: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const value = tree(demand, partial);
      const order = value === null ? null : drawOrder(call, where, value.sizes[axis]!);
      return value === null || order === null ? null : pickArray(value, axis, order);
    }),
  /** `redraw[F](x, l, n, share: 0.5, seed: 1)`: along F fresh normal values, with mean and deviation of what they replace. */
  redraw: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const share = numberOf(call, where, "share", 0.5);
      if (share < 0 || share > 1) return refuse(call, where, `a share of ${share} is not between 0 and 1`);
      const value = tree(demand, partial);
      const order = value === null ? null : drawOrder(call, where, value.sizes[axis]!);
      if (value === null || order === null) return null;
      const chosen = new Set(order.subarray(0, Math.round(share * order.length)));
      return chosen.size === 0 ? value : redraw(value, axis, demand, chosen, numberOf(call, where, "seed", 0));
    }),
  /** `concat[N](x, y)`: y takes what x leaves of N. */
  concat: (call, where, inner) => {
    const trees = call.args.map((a) => inner(a.value));
    const name = axisName(call);
    if (trees.includes(null)) return null;
    if (name === null || trees.length < 2) return refuse(call, where, "`concat[N](x, y)` puts arrays side by side");
    return (demand, partial) => {
      const axis = findAxis(demand, name);
      if (axis < 0) return refuse(call, where, `\`${demand.path}\` has no axis \`${name}\``);
      let sum: ArrayValue | null = null;
      for (const [i, tree] of trees.entries()) {
        const left: number | null =
          demand.axes[axis]!.size === null ? null : demand.axes[axis]!.size - (sum?.sizes[axis] ?? 0);
        const part = tree!(resizeDemand(demand, axis, i === trees.length - 1 ? left : null), partial);
        if (part === null) return null;
        sum = sum === null ? part : concatArrays(sum, part, axis);
      }
      return sum;
    };
  },
};

/** `mean[M](src.blocks[l].attn)` over the models of a list, `mean[N](src.blocks[l].ffn.experts[n])` over a free index. */
function mean(call: CallExpr, where: UpcycleScope): Tree | null {
  const [arg] = call.args;
  const name = arg === undefined ? null : rootName(arg.value);
  const models = name === null ? undefined : where.sourceIndex.get(name);
  if (arg === undefined || models === undefined || models.length === 0)
    return refuse(call, where, "`mean` averages over the models of a source list", "write `mean[M](src)`");
  const indexed = rootIndexed(arg.value);
  const trees = (indexed ? [undefined] : models.map((_, i) => i)).map((i) => {
    const source = sourcePath(arg.value, where, i);
    return source === null ? null : sourceTree(arg.value, source, where, true);
  });
  if (trees.includes(null)) return null;
  return (demand, partial) => {
    const arrays = trees.map((tree) => tree!(demand, partial));
    return arrays.includes(null) ? null : meanOf(arrays as ArrayValue[]);
  };
}

/** Whether one model of a list is chosen. */
function rootIndexed(expr: Expr): boolean {
  if (expr.kind === "member") return rootIndexed(expr.object);
  return expr.kind === "bracket" && (expr.object.kind === "name" || rootIndexed(expr.object));
}

function redraw(
  value: ArrayValue,
  axis: number,
  demand: Demand,
  chosen: ReadonlySet<number>,
  seed: number,
): ArrayValue {
  const size = value.sizes[axis]!;
  const all = Array.from({ length: size }, (_, i) => i);
  const kept = pickArray(
    value,
    axis,
    Int32Array.from(all, (i) => (chosen.has(i) ? ABSENT : i)),
  );
  const length = value.sizes.reduce((a, b) => a * b, 1);
  const init: Init = { kind: "normal", std: 1, seed };
  const view = contiguousView(demand.ordinal * length, value.sizes);
  const fresh = pickArray(
    { sizes: value.sizes, terms: [{ kind: "fresh", weight: 1, init, path: demand.path, view, like: null }] },
    axis,
    Int32Array.from(all, (i) => (chosen.has(i) ? i : ABSENT)),
  );
  const like = { terms: value.terms, length, view: fresh.terms[0]!.view };
  return addArrays(kept, { ...fresh, terms: fresh.terms.map((t) => ({ ...t, like })) }, 1);
}

/** The numbers below `size` in an order that only the seed and the numbers after the first argument decide. */
function drawOrder(call: CallExpr, where: UpcycleScope, size: number): Int32Array | null {
  const keys = call.args.filter((a) => a.name === null).slice(1);
  const numbers = keys.map((a) => wholeOf(call, where, a.value));
  if (numbers.includes(null)) return null;
  const init: Init = { kind: "uniform", bound: 1, seed: numberOf(call, where, "seed", 0) };
  const draws = new Float64Array(size);
  fillInit(init, `order ${numbers.join(" ")}`, 0, draws);
  return Int32Array.from(Array.from(draws.keys()).sort((a, b) => draws[a]! - draws[b]! || a - b));
}

type Along = (tree: Tree, axis: number, demand: Demand, partial: boolean) => ArrayValue | null;

function withAxis(
  call: CallExpr,
  where: UpcycleScope,
  inner: (expr: Expr) => Tree | null,
  count: number,
  along: Along,
): Tree | null {
  const name = axisName(call);
  const positional = call.args.filter((a) => a.name === null);
  const [arg] = positional;
  if (name === null || arg === undefined || positional.length < count)
    return refuse(call, where, "this verb takes an axis in brackets and then what it works on");
  const tree = inner(arg.value);
  if (tree === null) return null;
  return (demand, partial) => {
    const axis = findAxis(demand, name);
    return axis < 0 ? tree(demand, partial) : along(tree, axis, demand, partial);
  };
}

/** `F` of `shard[F -> G]` and of `repeat[F]`. */
function axisName({ callee }: CallExpr): string | null {
  const item = callee.kind === "bracket" ? callee.items[0] : undefined;
  const from = item?.kind === "arrow" ? item.from : item;
  return from?.kind === "name" ? from.name.text : null;
}

function arrowTo({ callee }: CallExpr): Expr | undefined {
  const item = callee.kind === "bracket" ? callee.items[0] : undefined;
  return item?.kind === "arrow" ? item.to : undefined;
}

function wholeOf(call: CallExpr, where: UpcycleScope, expr: Expr | undefined): number | null {
  const value = expr === undefined ? null : constantOf(expr, where);
  if (value !== null && Number.isInteger(value)) return value;
  return refuse(call, where, "a whole number that is known beforehand is missing here");
}

function numberOf(call: CallExpr, where: UpcycleScope, name: string, otherwise: number): number {
  const given = call.args.find((a) => a.name?.text === name);
  if (given === undefined) return otherwise;
  const value = evaluate(where.env, given.value);
  if (value.kind === "number") return value.value;
  if (value.kind === "axis" && value.size.value !== null) return value.size.value;
  refuse(call, where, `\`${name}\` is a number`);
  return otherwise;
}

function refuse(call: CallExpr, { env }: UpcycleScope, message: string, help?: string): null {
  report(
    env,
    "upcycle/bad-value",
    message,
    call.span,
    "here",
    help ?? "see the verbs of upcyclings in the language reference",
  );
  return null;
}
