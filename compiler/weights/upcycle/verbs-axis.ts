/**
 * Verbs that take arrays apart or put them together along an axis of the target, by its name; parameters that lack the axis
 * pass unchanged.
 */
import type { CallExpr } from "../../../grammar/ast.ts";
import {
  addArrays,
  type ArrayValue,
  concatArrays,
  type Demand,
  findAxis,
  formulaArray,
  freshArray,
  insertAxis,
  measureArrays,
  orderArray,
  pickArray,
  resizeDemand,
  sliceArray,
  type Tree,
} from "./array.ts";
import { drawIndices } from "./cluster.ts";
import { entriesOf } from "./members.ts";
import { eachModel, type UpcycleScope } from "./source.ts";
import {
  arrowTo,
  axisName,
  type EvaluateTree,
  namedOf,
  numberOf,
  numbersOf,
  positionalOf,
  refuse,
  shareOf,
  type Verb,
  wholeOf,
  withAxis,
} from "./verb.ts";
import { ABSENT } from "./view.ts";

export const AXIS_VERBS: Readonly<Record<string, Verb>> = {
  /** `shard[F -> G](x, g)`: the g-th of G equal parts along F. */
  shard: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const parts = wholeOf(call, where, arrowTo(call));
      const index = wholeOf(call, where, positionalOf(call)[1]);
      const size = demand.axes[axis]!.size;
      if (parts === null || index === null || size === null) return null;
      if (index < 0 || index >= parts) return refuse(call, where, `there is no part ${index} of ${parts}`);
      const whole = tree(resizeDemand(demand, axis, size * parts), partial);
      return whole === null ? null : sliceArray(whole, axis, index * size, size);
    }),
  /** `slice[F](x, start)`: as many indices along F as are needed, from `start`. */
  slice: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const start = wholeOf(call, where, positionalOf(call)[1]);
      const size = demand.axes[axis]!.size;
      const whole = start === null || size === null ? null : tree(resizeDemand(demand, axis, null), partial);
      if (whole === null) return null;
      if (start! < 0 || start! + size! > whole.sizes[axis]!)
        return refuse(call, where, `${size} from ${start} on are not among ${whole.sizes[axis]}`);
      return sliceArray(whole, axis, start!, size!);
    }),
  /** `pad[F](x)`: x, and zeros behind it along F where more is needed. */
  pad: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const { size, name } = demand.axes[axis]!;
      const whole = tree(resizeDemand(demand, axis, null), partial);
      const length = whole?.sizes[axis] ?? 0;
      if (whole === null || size === null || size === length) return whole;
      if (length > size) {
        const wider = "what is made must be wider there: recipes take its size as a parameter, such as `width`";
        return refuse(call, where, `${length} of \`${name}\` do not fit into ${size}`, wider);
      }
      return pickArray(
        whole,
        axis,
        Int32Array.from({ length: size }, (_, i) => (i < length ? i : ABSENT)),
      );
    }),
  /** `repeat[N](x, G)`: each index along N G times, one after the other. */
  repeat: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const times = wholeOf(call, where, positionalOf(call)[1]);
      const size = demand.axes[axis]!.size;
      if (times === null || size === null) return null;
      if (times < 1 || size % times !== 0)
        return refuse(call, where, `${size} of \`${demand.axes[axis]!.name}\` are not ${times} of each`);
      const once = tree(resizeDemand(demand, axis, size / times), partial);
      const indices = Int32Array.from({ length: size }, (_, i) => Math.floor(i / times));
      return once === null ? null : pickArray(once, axis, indices);
    }),
  /** `permute[N](x, [2, 0, 1])`: index i is what was at the i-th number of the list. */
  permute: (call, where, inner) =>
    withAxis(call, where, inner, 2, (tree, axis, demand, partial) => {
      const size = demand.axes[axis]!.size;
      const order = size === null ? null : numbersOf(call, where, positionalOf(call)[1]!, size);
      const whole = order === null ? null : tree(resizeDemand(demand, axis, null), partial);
      if (whole === null) return null;
      const wrong = order!.find((i) => !Number.isInteger(i) || i < 0 || i >= whole.sizes[axis]!);
      if (wrong !== undefined) return refuse(call, where, `there is no ${wrong} among ${whole.sizes[axis]}`);
      return pickArray(whole, axis, Int32Array.from(order!));
    }),
  /** `shuffle[F](x, l, seed: 1)`: another order along F, one per seed and per number that follows x. */
  shuffle: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const value = tree(demand, partial);
      const order = value === null ? null : drawOrder(call, where, value.sizes[axis]!);
      return value === null || order === null ? null : pickArray(value, axis, order);
    }),
  cluster,
  /** `normalize[D](x)`: every vector along D of length 1. */
  normalize: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const value = tree(demand, partial);
      if (value === null) return null;
      const lines = [value.sizes[axis]!, value.sizes.slice(axis + 1).reduce((a, b) => a * b, 1)];
      return formulaArray("unit", [value], lines, [measureArrays("lengths", [value], lines)]);
    }),
  /** `redraw[F](x, l, n, share: 0.5, seed: 1)`: along F fresh normal values, with mean and deviation of what they replace. */
  redraw: (call, where, inner) =>
    withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
      const share = shareOf(call, where, "share", 0.5);
      const value = share === null ? null : tree(demand, partial);
      const order = value === null ? null : drawOrder(call, where, value.sizes[axis]!);
      if (value === null || order === null) return null;
      const chosen = order.slice(0, Math.round(share! * order.length)).sort();
      return chosen.length === 0 ? value : redraw(value, axis, demand, chosen, numberOf(call, where, "seed", 0));
    }),
  /** `concat[N](x, y)`: y takes what x leaves of N. `concat[F, M](x)`: x for every model that M counts, in equal parts. */
  concat: (call, where, inner) =>
    withParts(call, where, inner, "concat", (trees, axis, demand, partial) => {
      const equal = call.callee.kind === "bracket" && call.callee.items.length > 1;
      let sum: ArrayValue | null = null;
      for (const [i, tree] of trees.entries()) {
        const { size } = demand.axes[axis]!;
        const left: number | null = size === null ? null : size - (sum?.sizes[axis] ?? 0);
        if (left !== null && left < 0)
          return refuse(call, where, `${sum!.sizes[axis]} of \`${demand.axes[axis]!.name}\` do not fit into ${size}`);
        const own = equal ? (size === null ? null : size / trees.length) : i === trees.length - 1 ? left : null;
        const part = tree(resizeDemand(demand, axis, own), partial);
        if (part === null) return null;
        sum = sum === null ? part : concatArrays(sum, part, axis);
      }
      return sum;
    }),
  /** `stack[N](x, y)`: x, y, ... without the axis N become its indices. `stack[N](f(list[n]))`: one for every entry of the list. */
  stack: (call, where, inner) =>
    withParts(call, where, inner, "stack", (trees, axis, demand, partial) => {
      const { size, name } = demand.axes[axis]!;
      if (size !== null && size !== trees.length)
        return refuse(
          call,
          where,
          `\`${name}\` is ${size}, and ${trees.length} are stacked`,
          `give one for each \`${name}\``,
        );
      const parts = trees.map((tree, i) => {
        const ordinal = demand.ordinal * trees.length + i;
        const part = tree({ ...demand, ordinal, axes: demand.axes.toSpliced(axis, 1) }, partial);
        return part === null ? null : insertAxis(part, axis);
      });
      return parts.includes(null) ? null : (parts as ArrayValue[]).reduce((a, b) => concatArrays(a, b, axis));
    }),
};

/** Along an axis that every parameter must have, with all arguments. */
function withParts(
  call: CallExpr,
  where: UpcycleScope,
  inner: EvaluateTree,
  verb: string,
  along: (trees: readonly Tree[], axis: number, demand: Demand, partial: boolean) => ArrayValue | null,
): Tree | null {
  const members = membersOfParts(call, where);
  const trees = members.flatMap((member) => call.args.map((a) => inner(a.value, member)));
  const name = axisName(call);
  if (trees.includes(null)) return null;
  if (name === null || trees.length < (verb === "stack" ? 1 : 2))
    return refuse(call, where, `\`${verb}[N](x, y)\` puts arrays side by side along an axis`);
  return (demand, partial) => {
    const axis = findAxis(demand, name);
    if (axis >= 0) return along(trees as Tree[], axis, demand, partial);
    return partial ? null : refuse(call, where, `\`${demand.path}\` has no axis \`${name}\``);
  };
}

/** A scope for every model of the list that a second name in the brackets counts, or for every entry of a list whose index is open. */
function membersOfParts(call: CallExpr, where: UpcycleScope): readonly UpcycleScope[] {
  const second = call.callee.kind === "bracket" ? call.callee.items[1] : undefined;
  const list = second?.kind === "name" ? where.lists.get(second.name.text) : undefined;
  if (list !== undefined) return eachModel(list, where);
  const [only, ...more] = positionalOf(call);
  return (only === undefined || more.length > 0 ? null : entriesOf(only, where)) ?? [where];
}

/** `cluster[F -> N](x, by: w, seed: 1, rounds: 10)`: along F in an order in which N equal parts are clusters of the rows of w. */
function cluster(call: CallExpr, where: UpcycleScope, inner: EvaluateTree): Tree | null {
  const by = namedOf(call, "by");
  if (by === undefined) return refuse(call, where, "`cluster` needs `by`, a matrix whose rows lie along the axis");
  const rows = inner(by, where);
  if (rows === null) return null;
  return withAxis(call, where, inner, 1, (tree, axis, demand, partial) => {
    const parts = wholeOf(call, where, arrowTo(call));
    const value = parts === null ? null : tree(demand, partial);
    if (value === null) return null;
    const size = value.sizes[axis]!;
    if (parts! < 1 || size % parts! !== 0) return refuse(call, where, `${size} rows are not ${parts} equal clusters`);
    const axes = [
      { name: demand.axes[axis]!.name, size },
      { name: "width", size: null },
    ];
    const matrix = rows({ ...demand, relative: "", axes, ordinal: 0 }, false);
    if (matrix === null) return null;
    const rounds = Math.max(1, numberOf(call, where, "rounds", 10));
    const order = measureArrays("clusters", [matrix], [parts!, size, rounds, numberOf(call, where, "seed", 0)]);
    return orderArray(value, axis, where.share(order));
  });
}

function redraw(value: ArrayValue, axis: number, demand: Demand, chosen: Int32Array, seed: number): ArrayValue {
  const size = value.sizes[axis]!;
  const place = new Int32Array(size).fill(ABSENT);
  chosen.forEach((index, i) => (place[index] = i));
  const kept = pickArray(
    value,
    axis,
    place.map((p, i) => (p === ABSENT ? i : ABSENT)),
  );
  const fresh = freshArray(demand, value.sizes, { kind: "normal", std: 1, seed });
  const moments = measureArrays("moments", [pickArray(value, axis, chosen)], []);
  const drawn = formulaArray("spread", [pickArray(fresh, axis, chosen)], [], [moments]);
  return addArrays(kept, pickArray(drawn, axis, place), 1);
}

/** The numbers below `size` in an order that only the seed and the numbers after the first argument decide. */
function drawOrder(call: CallExpr, where: UpcycleScope, size: number): Int32Array | null {
  const numbers = positionalOf(call)
    .slice(1)
    .map((key) => wholeOf(call, where, key));
  return numbers.includes(null) ? null : drawIndices(size, numberOf(call, where, "seed", 0), numbers.join(" "));
}
