/** Families as they are trained, in float64 against transformers: losses of a batch, and the gradient of every parameter. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { batchProgram, differentiateProgram } from "../compiler/index.ts";
import type { Value } from "../compiler/ops/define.ts";
import { verifyProgram } from "../compiler/verify/graph.ts";
import { maxDifference } from "./support/close.ts";
import {
  COEFFICIENT,
  openGolden,
  openTraining,
  runTraining,
  type TrainingCase,
  trainingProgram,
} from "./support/training.ts";

const balanced = ["mixtral", "qwen3_moe", "granitemoe"];

test("DeepSeek-V3's selection bias moves towards balance over all sequences, in every layer with experts", async () => {
  const given = await openGolden("deepseek_v3");
  const { program, accumulators } = batchProgram(given.program, given.b);
  const zero = new Map(
    accumulators.map(({ path, type }): [string, Value] => {
      const axes = type.axes.map((a) => ({ name: a.name, size: a.size.value! }));
      return [path, { axes, data: new Float64Array(axes.reduce((n, a) => n * a.size, 1)) }];
    }),
  );
  const results = runTraining({ ...given, params: (path) => zero.get(path) ?? given.params(path) }, program);
  const states = program.main.outputs.filter((o) => o.role === "update").map((o) => o.name.replace("after.", ""));
  expect(states.length).toBeGreaterThan(0);
  for (const path of states) {
    const load = results[path.replace("ffn.pick.bias", "expert_load")]!;
    const experts = load.axes.at(-1)!.size;
    const count = Array.from({ length: experts }, (_, n) =>
      load.data.reduce((sum, x, i) => sum + (i % experts === n ? x : 0), 0),
    );
    const mean = count.reduce((a, b) => a + b, 0) / experts;
    const expected = given.params(path).data.map((b, n) => b + 1e-3 * Math.sign(mean - count[n]!));
    expect(new Set(count).size).toBeGreaterThan(1);
    expect(maxDifference(results[`after.${path}`]!.data, expected), path).toBeLessThan(1e-12);
  }
});

describe.each(["llama", "cohere", "olmoe", ...balanced])("%s", (name) => {
  let given: TrainingCase;
  beforeAll(async () => {
    given = await openTraining(name);
  });
  afterAll(() => given.close());

  // Registered only where there is one: nothing to skip elsewhere.
  if (balanced.includes(name))
    test("the auxiliary loss is pooled over layers and tokens as transformers has it", async () => {
      const { program } = batchProgram(given.program, given.b);
      const losses = program.main.outputs.filter((o) => o.role === "loss");
      expect(losses).toHaveLength(1);
      const auxiliary = runTraining(given, { ...program, main: { ...program.main, outputs: losses } })[
        losses[0]!.name
      ]!;
      expect(auxiliary.axes).toEqual([]);
      expect(
        maxDifference(
          auxiliary.data.map((x) => x / COEFFICIENT),
          await given.golden("aux_loss"),
        ),
      ).toBeLessThan(1e-6);
    });

  test("the loss and the gradient of every parameter are the golden ones", async () => {
    const { program } = trainingProgram(given);
    const differentiated = differentiateProgram(program, "loss", given.b);
    expect(verifyProgram(differentiated)).toEqual([]);
    const results = runTraining(given, differentiated);
    expect(maxDifference(results["loss"]!.data, await given.golden("loss"))).toBeLessThan(1e-6);
    expect(given.gradients.size).toBeGreaterThan(10);
    for (const [path, golden] of given.gradients) {
      const found = results[`grad.${path}`]!;
      expect(found.axes, path).toEqual(golden.axes);
      const largest = golden.data.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
      expect(maxDifference(found.data, golden.data) / largest, path).toBeLessThan(1e-5);
    }
    expect(Object.keys(results)).toHaveLength(given.gradients.size + 1);
  });
});
