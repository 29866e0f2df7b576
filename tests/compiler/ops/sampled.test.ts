/** What tests make of the samples of a row, so that a new op is met by all of them without an entry anywhere. */
import { describe, expect, test } from "vitest";
import type { OpName } from "../../../compiler/graph/attrs.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { Draw } from "../../support/random-models.ts";
import { samplesOf, varySample } from "../../support/sample-op.ts";
import { Grower, Misfit, newShared, timeAxis } from "../../fuzz/programs/grow.ts";
import { rows } from "../../fuzz/programs/rows.ts";
import { sampleRow } from "../../fuzz/programs/sample-row.ts";

/** Sources have no operands, a call is of a function of the program, and `global` is pooled by training alone. */
const APART: readonly OpName[] = ["input", "param", "sequence", "position", "length", "call"];

const names = (Object.keys(ops) as OpName[]).filter((op) => !APART.includes(op));

/** A program of some steps, to which an op is added by its samples. */
function growWith(op: OpName, seed: number): Node | null {
  const shared = newShared("usual", true, 6, () => undefined);
  const g = new Grower(shared, new Draw(seed), null);
  g.input([timeAxis, g.axis()], "f32");
  for (const row of [rows.mul, rows.gt, rows.iota, rows.cast, rows.sum, rows.dot, rows.or]) {
    try {
      row(g);
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
    }
  }
  try {
    return sampleRow(op)(g);
  } catch (error) {
    if (error instanceof Misfit) return null;
    throw error;
  }
}

test.each(names)("%s comes into random programs by the samples of its row", (op) => {
  const made = Array.from({ length: 40 }, (_, seed) => growWith(op, seed)).filter((n) => n !== null);
  expect(made.length).toBeGreaterThan(4);
  expect(new Set(made.map((n) => n.op))).toEqual(new Set([op]));
});

describe("an op that is called by its row alone", () => {
  const called = names.filter((op) => ops[op].called !== undefined);
  test.each(called)("%s says what it gives, of what", (op) => {
    const { doc, operands } = ops[op].called!;
    expect(doc).toMatch(/^[^A-Z].*[^.]$/);
    for (const { inputs } of samplesOf(op)) expect(inputs).toHaveLength(operands.length);
  });
});

test("attributes vary by other samples, other axes, and their negation; one that shows nothing is told", () => {
  const [sum] = samplesOf("sum");
  expect(varySample("sum", sum!)).toEqual({ axes: expect.arrayContaining([expect.anything()]) });
  const [running] = samplesOf("cumsum");
  expect(varySample("cumsum", running!)["exclusive"]).toContain(true);
  const [cast] = samplesOf("cast");
  expect(() => varySample("cast", { ...cast!, attrs: { to: "no type" } as never })).not.toThrow();
  expect(() => varySample("call", { attrs: { fn: "f" }, inputs: [], output: [] } as never)).toThrow("give its row one");
});
