/**
 * The names that every program has without importing them: functions, values and the words that make members, each with what it is
 * called with and a sentence that an editor shows. Names and arguments are held to this table; the meanings are in `interpret/`.
 * Functions of numbers come from `graph/scalar.ts`, ops that need no more than their row from `ops/`.
 */
import type { OpName } from "../graph/attrs.ts";
import { calledScalars } from "../graph/scalar.ts";
import type { Called, OpDef } from "../ops/define.ts";
import { ops } from "../ops/table.ts";

export interface Builtin {
  /** `member` makes a member of a layer; `value` is read as it is. */
  readonly kind: "function" | "value" | "member";
  /** What stands in brackets, as one writes it; null where there are none. */
  readonly brackets: string | null;
  /** Arguments by position. What ends in `?` may be left out, `...` stands for any number more. */
  readonly args: readonly string[];
  /** Arguments by name, which come last. */
  readonly options: readonly string[];
  /** One sentence, without a full stop. */
  readonly doc: string;
}

type Row = Omit<Builtin, "kind">;

const called = (brackets: string | null, args: readonly string[], doc: string, ...options: readonly string[]): Row => ({
  brackets,
  args,
  options,
  doc,
});

/** What an op's row says of brackets, as one writes it. */
const BRACKETS = { nothing: null, "one axis": "N", axes: "A, ..." } as const;

/** Functions with a meaning of their own in `interpret/`. */
export const OWN_FUNCTIONS = {
  min: called("A, ...", ["x", "y?"], "the smaller, element by element; with axes in brackets, the smallest along them"),
  max: called("A, ...", ["x", "y?"], "the larger, element by element; with axes in brackets, the largest along them"),
  ceil: called(null, ["x"], "a number or a size, rounded up"),
  f32: called(null, ["x"], "x as f32"),
  u32: called(null, ["x"], "x as u32, rounded towards 0"),
  i32: called(null, ["x"], "x as i32, rounded towards 0"),
  select: called(null, ["condition", "x", "y"], "x where the condition holds, else y, element by element"),
  contains: called(null, ["list", "value"], "whether a list that is known when the model is compiled has an entry"),
  range: called(null, ["from", "to", "step?"], "the numbers from the first up to the second, without that"),
  without: called(null, ["list", "others"], "the entries of one list that another has not"),
  sum: called("A, ...", ["x"], "x summed over these axes; also over `batch`, `global` and stacks of layers"),
  mean: called("A, ...", ["x"], "the mean of x over these axes; also over `batch`, `global` and stacks of layers"),
  topk: called("N -> K", ["x"], "the K largest along N, and their indices; of equal ones the first"),
  ranks: called("N", ["x"], "the place of each element along N when sorted, the largest first, u32"),
  cumsum: called("A", ["x"], "the running sum along an axis", "exclusive"),
  delay: called(null, ["x", "by"], "x of so many tokens ago, zeros before the first"),
  conv: called("W", ["x", "w"], "each element a weighted sum of its last W tokens, the present one last"),
  scan: called("P", ["a", "b"], "the recurrence h = a h + b along time, from zero; complex over an axis P of 2"),
  delta_rule: called("C", ["q", "k", "v", "beta"], "what queries read of a memory that the delta rule writes"),
  within: called(null, ["kept", "y"], "y of a sequence of which only the tokens of the mask are there"),
  iota: called("A", [], "0, 1, 2, ... along an axis, u32"),
  position: called(null, [], "the position of each token in its sequence, u32"),
  length: called(null, [], "the length that each token's sequence is declared to have in the end, u32"),
  draw: called(null, [], "which sequence of a training run this is, from 0, u32; 0 where there is no run"),
  values: called("A", ["list"], "a list of numbers that is known when the model is compiled, along an axis"),
  size: called("A", [], "the size of an axis, as a number"),
  split: called("A -> B*C", ["x"], "one axis as several, the first varying slowest"),
  merge: called("B*C -> A", ["x"], "several axes as one, the first varying slowest"),
  slice: called("A -> B", ["x", "start?"], "as many elements of A as B has, from `start`"),
  roll: called("A", ["x", "by"], "x shifted along an axis, around its end"),
  concat: called("A -> B", ["x", "y", "..."], "side by side along an axis"),
  attend: called(
    "C",
    ["q", "k", "v", "sink?"],
    "attention of queries to keys and values, compared over the channel C",
    ...["causal", "window", "chunk", "scale", "softcap"],
  ),
  route: called("N", ["index", "weight"], "a sparse route: which of N are chosen, and with what weight"),
  normal: called(null, ["std?"], "starts as normal random numbers of this deviation", "std", "seed"),
  uniform: called(null, ["bound?"], "starts as random numbers between -bound and bound", "bound", "seed"),
  constant: called(null, ["value"], "starts as this number"),
} as const satisfies Readonly<Record<string, Row>>;

const MEMBERS: Readonly<Record<string, Row>> = {
  param: called("A, ...", ["init?"], "weights of the layer along these axes"),
  state: called("A, ...", ["init?"], "what an `update` changes after each step, and no gradient"),
};

const VALUES: Readonly<Record<string, string>> = {
  T: "the time axis: the tokens of a sequence",
  batch: "the sequences of a micro-batch, to reduce over in `loss`, `metric` and `update`",
  global: "all sequences of an optimizer step, to reduce over in `loss`, `metric` and `update`",
  none: "nothing, where something may be left out",
  causal: "says that a token sees no later ones",
  training: "true in the program that is trained",
  generating: "true in the program that generates",
  zeros: "starts as 0",
  ones: "starts as 1",
};

export const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ...[...scalarRows(), ...opRows()].map(([name, row]): [string, Builtin] => [name, { kind: "function", ...row }]),
  ...Object.entries<Row>(OWN_FUNCTIONS).map(([name, row]): [string, Builtin] => [name, { kind: "function", ...row }]),
  ...Object.entries(MEMBERS).map(([name, row]): [string, Builtin] => [name, { kind: "member", ...row }]),
  ...Object.entries(VALUES).map(([name, doc]): [string, Builtin] => [
    name,
    { kind: "value", ...called(null, [], doc) },
  ]),
]);

/** Ops that `.moe` calls by their rows alone. */
export function calledOps(): readonly (readonly [OpName, Called<OpName>])[] {
  return Object.entries(ops as Readonly<Record<string, OpDef<OpName>>>).flatMap(([op, row]) =>
    row.called === undefined ? [] : [[op as OpName, row.called] as const],
  );
}

function opRows(): readonly (readonly [string, Row])[] {
  return calledOps().map(([name, { brackets, operands, doc, options = {} }]) => [
    name,
    called(BRACKETS[brackets], operands, doc, ...Object.keys(options)),
  ]);
}

function scalarRows(): readonly (readonly [string, Row])[] {
  return calledScalars().map(([name, { operands, called: doc }]) => [
    name,
    called(null, operands === 1 ? ["x"] : ["x", "y"], doc),
  ]);
}

/** How many arguments without a name a function takes at most; null where there is no such number. */
export function mostArguments({ args }: Builtin): number | null {
  return args.at(-1) === "..." ? null : args.length;
}
