/** Products of a backward pass in whole programs: which kernels run them, beside the oracle. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Program } from "../../../compiler/graph/node.ts";
import { parseAxis } from "../../../compiler/graph/parse.ts";
import type { WeightFormat } from "../../../compiler/plan/format.ts";
import type { Plan } from "../../../compiler/plan/plan.ts";
import { outerTemplates } from "../../../compiler/codegen/kernel/select.ts";
import { compareOutputs } from "../../support/compare-plan.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import { makeProgram } from "../../support/graph-program.ts";
import { canRun } from "../../support/templates.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Contractions that a map kernel runs, an element per invocation. */
const loopsOf = (plan: Plan): readonly string[] =>
  plan.entries.flatMap((e) =>
    e.steps
      .flatMap((s) => (s.kind === "dispatch" ? [s] : s.steps))
      .flatMap((d) => (/\bdot\b/.test(d.label) ? [d.label] : [])),
  );

/** Forward and back again through one weight. */
const thereAndBack = (dense: boolean): Program =>
  makeProgram(({ b, input, param }) => {
    if (dense) {
      const w = param("w", "f32[H=3, F=10, D=37]");
      const y = b.dot(input("x", "f32[T, D=37]"), w, ["D"]);
      return { out: b.dot(y, w, ["H", "F"]) };
    }
    const chosen = b.must("topk", [input("x", "f32[T, N=5]")], { axis: "N", k: parseAxis("K=2"), part: "indices" });
    const w = b.take(param("w", "f32[N=5, F=10, D=22]"), chosen, "N");
    const y = b.dot(input("y", "f32[T, D=22]"), w, ["D"]);
    return { out: b.dot(y, w, ["F"]) };
  });

test.each(["f32", "f16", "bf16"] as const satisfies readonly WeightFormat[])(
  "a weight of %s is read where it lies by the product back through it, by all rows and by few",
  async (storage) => {
    for (const dense of [true, false]) {
      const plan = await compareOutputs(thereAndBack(dense), gpu, 19, {}, ["prefill", "decode"], {
        storage: () => storage,
      });
      expect(loopsOf(plan)).toEqual([]);
      expect(plan.parameters.map((p) => p.path)).toEqual(["w"]);
    }
  },
);

/** Sums over tokens in either order of the sides, with axes on both, and an epilogue. */
const overTokens = makeProgram(({ b, input, param }) => {
  const [x, y] = [input("x", "f32[T, D=37]"), input("y", "f32[T, H=3, F=12]")];
  const sum = b.dot(y, x, ["T"]);
  const pairs = b.dot(input("p", "f32[E=2, T, D=37]"), input("q", "f32[T, E=2, F=20]"), ["T", "E"]);
  return {
    first: b.plus(sum, param("w", "f32[H=3, F=12, D=37]")),
    second: b.times(b.dot(x, y, ["T"]), 0.5),
    pairs: b.minus(pairs, param("v", "f32[D=37, F=20]")),
  };
});

test.each(outerTemplates.map((t) => t.name))("%s: products over tokens leave what the oracle does", async (outer) => {
  if (!canRun(outer, gpu.facts)) return;
  const plan = await compareOutputs(overTokens, gpu, 29, {}, ["whole"], { force: { outer } });
  expect(loopsOf(plan)).toEqual([]);
});

/** What an index chose of a bank, in the place of all of its rows; an empty bank, and rows that a sum of two is. */
const spreads = makeProgram(({ b, input }) => {
  const chosen = b.must("topk", [input("s", "f32[T, N=6]")], { axis: "N", k: parseAxis("K=2"), part: "indices" });
  const gradient = b.rename(b.dot(input("g", "f32[T, K=2, F=20]"), input("x", "f32[T, D=12]"), []), "F", "E");
  const odd = b.dot(input("h", "f32[T, D=7]"), input("g", "f32[T, K=2, F=20]"), []);
  const ids = b.must("mod", [b.cast(b.times(input("t", "f32[T]"), 40), "u32"), b.constant(9, "u32")], {});
  return {
    grouped: b.spread(gradient, chosen, parseAxis("N=8"), ["T", "K"]),
    turned: b.transpose(b.spread(odd, chosen, parseAxis("N=6"), ["T", "K"]), ["N", "F", "D"]),
    rows: b.times(b.spread(input("x", "f32[T, D=12]"), ids, parseAxis("V=11"), ["T"]), 2),
    many: b.spread(input("h", "f32[T, D=7]"), b.must("mod", [ids, b.constant(7, "u32")], {}), parseAxis("V=150"), [
      "T",
    ]),
    within: b.spread(input("g", "f32[T, K=2, F=20]"), chosen, parseAxis("N=6"), ["K"]),
  };
});

test.each(outerTemplates.map((t) => t.name))(
  "%s: what is spread over banks leaves what the oracle does",
  async (outer) => {
    if (!canRun(outer, gpu.facts)) return;
    const plan = await compareOutputs(spreads, gpu, 29, {}, ["whole"], { force: { outer } });
    const grouped = plan.entries.flatMap((e) =>
      e.steps.filter((d) => d.kind === "dispatch" && d.label.endsWith("over tokens")),
    );
    expect(grouped.length).toBe(2);
    const rows = plan.entries.flatMap((e) =>
      e.steps.filter((d) => d.kind === "dispatch" && d.label === "rows added up by V"),
    );
    expect(rows.length).toBe(2);
  },
);
