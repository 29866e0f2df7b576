/** Chains of light values, long or wanted at several places each: code that is written for them is bounded, and right. Characters are counted, not time. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileProgram } from "../../../compiler/pipeline.ts";
import { compareOutputs } from "../../support/compare-plan.ts";
import { softwareFacts } from "../../support/facts.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import { programOf } from "../../support/programs.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const chain = (statement: string, count: number) =>
  programOf(
    `model M(D) {\n forward(x: [T, D]) -> [T, D] {\n  y = x\n${`  y = ${statement}\n`.repeat(count)}  return y\n }\n}\nconfig c: M { D: 4 }`,
  );

function charactersOf(program: ReturnType<typeof chain>): number {
  const plan = compileProgram(program, {
    model: "model",
    device: softwareFacts,
    storage: () => "f32",
    verify: true,
    entries: [
      { output: program.main.outputs[0]!.name, computes: [program.main.outputs[0]!.name], regimes: ["prefill"] },
    ],
  });
  return plan.modules.reduce((sum, m) => sum + m.wgsl.length, 0);
}

const shifted = ["0.5 * (y + roll[D](y, 1))", "0.3 * (y + roll[D](y, 1) + roll[D](y, 2))", "0.5 * (y + delay(y, 1))"];

test.each(shifted)("a chain of `%s` is as much code as it is long", async (statement) => {
  // Twice as much for each statement, or thrice, would be more than 2^24 characters.
  expect(charactersOf(chain(statement, 24))).toBeLessThan(400_000);
  await compareOutputs(chain(statement, 24), gpu, 3, {}, ["prefill", "decode"]);
});

test.each(["y * 1.0001", "0.5 * (y + tanh(y))"])("3,000 statements of `%s` are compiled", (statement) => {
  expect(charactersOf(chain(statement, 3000))).toBeLessThan(2_000_000);
});

test.each([24, 3000])("%i statements over values that positions decide are compiled", (count) => {
  const program = programOf(
    `model M(D) {\n forward(x: [T, D]) -> [T, D] {\n  p = sin(f32(position()))\n${"  p = 0.4 * p + sin(p)\n".repeat(count)}  return x * p\n }\n}\nconfig c: M { D: 4 }`,
  );
  expect(charactersOf(program)).toBeLessThan(2_000_000);
});
