/**
 * Verbs over several arrays of one shape, the models of a list or the experts of a layer, and verbs that look at whole tensors.
 * The arrays of a list come from one expression, evaluated for each member.
 */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { walk } from "../../../grammar/index.ts";
import { TIME } from "../../graph/type.ts";
import type { Init } from "../../language/interpret/value.ts";
import {
  addArrays,
  type ArrayValue,
  formulaArray,
  freshArray,
  measureArrays,
  scaleArray,
  takeIndex,
  type Tree,
} from "./array.ts";
import { membersOf } from "./members.ts";
import type { UpcycleScope } from "./source.ts";
import {
  axisName,
  boolOf,
  type EvaluateTree,
  namedOf,
  numberOf,
  numbersOf,
  positionalOf,
  refuse,
  shareOf,
  type Verb,
} from "./verb.ts";

export const VALUE_VERBS: Readonly<Record<string, Verb>> = {
  /** `mean[M](src.a)`, `mean[N](src.a[n].b)`, `mean[M](src, weights: [3, 1])`: Σ w x / Σ w. */
  mean: (call, where, inner) =>
    overMembers(call, where, inner, (arrays, weights) => {
      const total = weights.reduce((a, b) => a + b, 0);
      if (total === 0) return refuse(call, where, "these weights add up to 0");
      return addAll(arrays.map((a, i) => scaleArray(a, weights[i]! / total)));
    }),
  /** `sum[M](src - base, weights: [0.5, 0.3])`, `sum[V](src.embed.w, at: [5, 77])`: Σ w x. */
  sum: (call, where, inner) =>
    overMembers(call, where, inner, (arrays, weights) => addAll(arrays.map((a, i) => scaleArray(a, weights[i]!)))),
  /** `elect[M](x, weights: w, normalize: true)`: sums of the elements whose sign is that of the whole sum. */
  elect: (call, where, inner) =>
    overMembers(call, where, inner, (arrays, weights) =>
      formulaArray("elect", arrays, [boolOf(call, where, "normalize", true) ? 1 : 0, ...weights], []),
    ),
  /** `slerp(x, y, t: 0.5)`: on the arc from x to y, as vectors. */
  slerp: (call, where, inner) => {
    const [x, y] = positionalOf(call);
    const t = numberOf(call, where, "t", 0.5);
    if (x === undefined || y === undefined) return refuse(call, where, "`slerp(x, y, t: 0.5)` goes from x to y");
    const trees = [inner(x, where), inner(y, where)];
    return mapTrees(trees, (arrays) => formulaArray("arc", arrays, [t], [measureArrays("products", arrays, [])]));
  },
  /** `trim(x, density: 0.2)`: the elements of largest magnitude, that share of them; 0 for the rest. */
  trim: (call, where, inner) => {
    const density = shareOf(call, where, "density", 0.5);
    const [x] = positionalOf(call);
    if (density === null || x === undefined) return refuse(call, where, "`trim(x, density: 0.2)` keeps a share of x");
    return mapTrees([inner(x, where)], (arrays) =>
      density === 1 ? arrays[0]! : formulaArray("largest", arrays, [], [measureArrays("magnitude", arrays, [density])]),
    );
  },
  /** `dare(x, density: 0.5, seed: 1)`: a random share of the elements, scaled so that Σ|x| stays; 0 for the rest. */
  dare: (call, where, inner) => {
    const density = shareOf(call, where, "density", 0.5);
    const [x] = positionalOf(call);
    if (density === null || x === undefined)
      return refuse(call, where, "`dare(x, density: 0.5)` keeps a random share of x");
    const tree = inner(x, where);
    if (tree === null) return null;
    const init: Init = { kind: "uniform", bound: 1, seed: numberOf(call, where, "seed", 0) };
    const member = [...where.each.values()].join(" ");
    return (demand, partial) => {
      const value = tree(demand, partial);
      if (value === null || density === 1) return value;
      const draws = freshArray(demand, value.sizes, init, `${demand.path} kept ${member}`);
      return formulaArray("thin", [value, draws], [density], [measureArrays("kept", [value, draws], [density])]);
    };
  },
};

function addAll(arrays: readonly ArrayValue[]): ArrayValue {
  return arrays.reduce((sum, a) => addArrays(sum, a, 1));
}

function mapTrees(trees: readonly (Tree | null)[], make: (arrays: readonly ArrayValue[]) => ArrayValue): Tree | null {
  if (trees.includes(null)) return null;
  return (demand, partial) => {
    const arrays = trees.map((tree) => tree!(demand, partial));
    return arrays.includes(null) ? null : make(arrays as ArrayValue[]);
  };
}

/** The first argument for every member of what the brackets name. */
function overMembers(
  call: CallExpr,
  where: UpcycleScope,
  inner: EvaluateTree,
  combine: (arrays: readonly ArrayValue[], weights: readonly number[]) => ArrayValue | null,
): Tree | null {
  const [arg] = positionalOf(call);
  const at = namedOf(call, "at");
  if (arg !== undefined && (at !== undefined || isOverTokens(call, arg, where)))
    return overIndices(call, at ?? null, where, inner(arg, where), combine);
  const members = arg === undefined ? null : membersOf(call, arg, where);
  if (members === null) return null;
  const trees = members.map((member) => inner(arg!, member));
  const weights = readWeights(call, where, trees.length);
  if (trees.includes(null) || weights === null) return null;
  return (demand, partial) => {
    const arrays = trees.map((tree) => tree!(demand, partial));
    return arrays.includes(null) ? null : combine(arrays as ArrayValue[], weights);
  };
}

/** `mean[T](input(...))`. */
function isOverTokens(call: CallExpr, arg: Expr, where: UpcycleScope): boolean {
  if (axisName(call) !== TIME || where.lists.has(TIME)) return false;
  let runs = false;
  walk(
    arg,
    (node) =>
      void (node.kind === "call" && node.callee.kind === "name" && node.callee.name.text === "input" && (runs = true)),
  );
  return runs;
}

/**
 * The first argument at indices of an axis that the left side has not: its first, such as the vocabulary of an embedding, or the tokens
 * of prompts. `at` null: at all of them.
 */
function overIndices(
  call: CallExpr,
  at: Expr | null,
  where: UpcycleScope,
  tree: Tree | null,
  combine: (arrays: readonly ArrayValue[], weights: readonly number[]) => ArrayValue | null,
): Tree | null {
  const name = axisName(call);
  const list = at === null ? null : where.env.ctx.walk.evaluate(where.env, at);
  const count = list?.kind === "list" ? list.items.length : 0;
  const chosen = at === null ? [] : numbersOf(call, where, at, count);
  if (tree === null || chosen === null) return null;
  if (name === null || (at !== null && count === 0))
    return refuse(call, where, "indices are a list that is not empty, of an axis in brackets", "write `at: [5, 77]`");
  return (demand, partial) => {
    const whole = tree({ ...demand, axes: [{ name, size: null }, ...demand.axes] }, partial);
    if (whole === null) return null;
    const indices = at === null ? Array.from({ length: whole.sizes[0]! }, (_, i) => i) : chosen;
    const weights = readWeights(call, where, indices.length);
    if (weights === null) return null;
    const wrong = indices.find((i) => !Number.isInteger(i) || i < 0 || i >= whole.sizes[0]!);
    if (wrong !== undefined)
      return refuse(
        call,
        where,
        `there is no ${wrong} among ${whole.sizes[0]} of \`${name}\``,
        name === TIME
          ? "tokens of prompts count from 0"
          : `say what the sources must have: \`where ${name} > ${wrong}\``,
      );
    return combine(
      indices.map((i) => takeIndex(whole, 0, i)),
      weights,
    );
  };
}

/** `weights: none` are equal ones. */
function readWeights(call: CallExpr, where: UpcycleScope, count: number): readonly number[] | null {
  const given = namedOf(call, "weights");
  const equal = Array.from({ length: count }, () => 1);
  if (given === undefined) return equal;
  const value = where.env.ctx.walk.evaluate(where.env, given);
  return value.kind === "none" ? equal : numbersOf(call, where, given, count);
}
