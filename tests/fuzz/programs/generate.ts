/** Random programs as fast-check draws and shrinks them: a list of steps, each an op or an idiom with a seed of its own. */
import fc from "fast-check";
import type { OpName } from "../../../compiler/graph/attrs.ts";
import type { Node, Output, Program } from "../../../compiler/graph/node.ts";
import { topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { Draw } from "../../support/random-models.ts";
import { Grower, Misfit, newShared, timeAxis } from "./grow.ts";
import { idioms } from "./idioms.ts";
import { type Row, rows } from "./rows.ts";
import { sampleRow } from "./sample-row.ts";
import { type Kind, kinds } from "./values.ts";

export interface Case {
  readonly program: Program;
  readonly kind: Kind;
  /** It looks at later positions. */
  readonly whole: boolean;
  /** Decides how it is run: lengths, pieces, kernels. */
  readonly seed: number;
}

/** Tokens of the sequence that programs grow with: no run has a longer one. */
export const LONGEST = 6;

const sampled = (Object.keys(ops) as OpName[]).filter((op) => !Object.hasOwn(rows, op));

const all: Readonly<Record<string, Row>> = {
  ...rows,
  ...idioms,
  ...Object.fromEntries(sampled.map((op) => [op, sampleRow(op)])),
};

/** Rows that make more of a program than others come more often. */
const WEIGHTS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Object.keys(idioms).map((name) => [name, 2])),
  dot: 5,
  take: 4,
  topk: 3,
  attend: 3,
  scan: 2,
  delta_rule: 2,
  delay: 2,
  call: 2,
  add: 4,
  mul: 4,
  sum: 4,
  select: 2,
  input: 2,
  not: 3,
  or: 3,
  and: 2,
  ne: 2,
  values: 2,
};

const names = Object.keys(all).flatMap((name) => Array.from({ length: WEIGHTS[name] ?? 1 }, () => name));

interface Step {
  readonly row: string;
  readonly seed: number;
}

const stepOf: fc.Arbitrary<Step> = fc.record({ row: fc.constantFrom(...names), seed: fc.nat(0x3fffffff) });

/** Cases of up to so many steps, each of which is one node or some. */
export function casesOf(most: number): fc.Arbitrary<Case> {
  return fc
    .record({
      kind: fc.constantFrom<Kind>("usual", "usual", ...kinds),
      whole: fc.boolean(),
      seed: fc.nat(0x3fffffff),
      steps: fc.array(stepOf, { minLength: 2, maxLength: most, size: "max" }),
    })
    .map(({ kind, whole, seed, steps }) => ({ kind, whole, seed, program: programOf(steps, kind, whole) }));
}

function programOf(steps: readonly Step[], kind: Kind, whole: boolean): Program {
  const shared = newShared(kind, whole, LONGEST, growSome);
  const g = new Grower(shared, new Draw(0), null);
  g.input([timeAxis, g.axis()], "f32");
  for (const { row, seed } of steps) {
    g.draw = new Draw(seed);
    grow(g, row);
  }
  const outputs = outputsOf(g, whole);
  const used = new Set(topologicalOrder(outputs.map((o) => o.node)));
  const inputs = g.inputs.filter((n) => used.has(n));
  const functions = [...shared.functions].filter(([name]) =>
    [...used].some((n) => n.op === "call" && (n as Node<"call">).attrs.fn === name),
  );
  return { main: { name: "main", inputs, outputs }, functions: new Map(functions) };
}

function growSome(g: Grower, steps: number): void {
  for (let i = 0; i < steps; i++) grow(g, g.draw.of(names));
}

function grow(g: Grower, row: string): void {
  const before = g.pool.length;
  try {
    const made = all[row]!(g);
    if (made !== null && !g.pool.includes(made)) g.pool.push(made);
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    g.pool.length = before;
  }
}

/** What nothing else uses, the latest first, and a metric: the sum over time of one of them. */
function outputsOf(g: Grower, whole: boolean): readonly Output[] {
  const right = g.pool.filter(
    (n) => (whole || hasAxis(n.type, TIME)) && n.type.dtype !== "bool" && n.type.axes.length <= 5,
  );
  const used = new Set(right.flatMap((n) => n.inputs));
  const ends = right.filter((n) => !used.has(n) && n.inputs.length > 0);
  const chosen = (ends.length > 0 ? ends : right.slice(-1)).slice(-3).reverse();
  const outputs = chosen.map((node, i): Output => ({ name: `y${i}`, role: "result", node }));
  const [first] = chosen;
  if (first === undefined || first.type.dtype !== "f32" || !hasAxis(first.type, TIME) || g.pool.length % 3 > 0)
    return outputs;
  const total = g.make("sum", [first], { axes: [TIME] }) ?? g.b.must("sum", [first], { axes: [TIME] });
  return [...outputs, { name: "total", role: whole && total.type.axes.length === 0 ? "loss" : "metric", node: total }];
}
