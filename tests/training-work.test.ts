/** What a backward pass costs, counted in its plan: work of a forward one, and which kernels do it. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Program } from "../compiler/graph/node.ts";
import { buildProgram, newContext } from "../compiler/index.ts";
import { compileProgram } from "../compiler/pipeline.ts";
import { promisedFacts } from "../compiler/plan/facts.ts";
import { type Dispatch, evaluateSize } from "../compiler/plan/plan.ts";
import { gradientProgram } from "../compiler/training/gradient-program.ts";
import { loadModel } from "../runtime/load/load-model.ts";

/** Few, so that pairs of tokens are not what counts. */
const T = 8;
const sizes = { T, Q: T, S: 1, P: T };

/** Dispatches with the times that each runs, of an entry with these outputs. */
function dispatchesOf(program: Program, outputs: readonly string[]): readonly { d: Dispatch; times: number }[] {
  const plan = compileProgram(program, {
    model: "work",
    device: promisedFacts("software"),
    storage: () => "f32",
    entries: [{ output: "loss", computes: outputs, regimes: ["whole"] }],
  });
  return plan.entries[0]!.steps.flatMap((s) =>
    s.kind === "dispatch" ? [{ d: s, times: 1 }] : s.steps.map((d) => ({ d, times: s.indices.length })),
  );
}

const flopsOf = (list: ReturnType<typeof dispatchesOf>): number =>
  list.reduce((n, { d, times }) => n + times * evaluateSize(d.flops, sizes), 0);

describe.each(["llama", "mixtral", "olmoe"])("%s", async (family) => {
  const { model, checkpoint } = await loadModel(join(import.meta.dirname, "fixtures", "families", family));
  await checkpoint.close();
  const ctx = newContext("build", undefined, "train");
  const { program } = gradientProgram(buildProgram(model.instance, ctx), 2, ctx.builder)!;
  const all = dispatchesOf(
    program,
    program.main.outputs.map((o) => o.name),
  );

  test("going back, with layers computed again, is at most 3.05 times the work of going forward", () => {
    const forward = flopsOf(dispatchesOf(program, ["loss"]));
    expect(flopsOf(all) - forward).toBeGreaterThan(2 * forward);
    expect(flopsOf(all) - forward).toBeLessThan(3.05 * forward);
  });

  test("no product with a weight, or of a weight's gradient, is a loop for each of its elements", () => {
    const loops = all.filter(({ d }) => d.label.includes(".w") && /\bdot\b/.test(d.label));
    expect(loops.map(({ d }) => d.label)).toEqual([]);
    const weights = program.main.outputs.filter(
      (o) => o.role === "gradient" && o.node.type.axes.length > 1 && !o.name.includes("norm"),
    );
    const sums = all.reduce((n, { d, times }) => n + (d.label.endsWith("over tokens") ? times : 0), 0);
    // The table of words is added up row by row.
    expect(sums).toBe(weights.length - 1);
  });
});
