/** Mixtures of attention and feed-forward experts from real checkpoints, through the oracle and on the GPU. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { open } from "../../../runtime/open.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { maxDifference } from "../../support/close.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { count, evaluateLogits, readValues, withPlan } from "./support.ts";

const FIXTURES = "tests/fixtures/mix/bam";
const SOURCES = ["seed", "code", "law", "math"].map((name) => join("examples/checkpoints/cohere", name));
const TOLERANCE = 1e-4;

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

describe.each([
  ["experts of their own keys and values", "experts", false],
  ["experts that share keys and values", "shared", true],
])("%s", (_, name, shared) => {
  test("give the reference's logits, in the oracle, on the GPU and token by token", async () => {
    const golden = join(FIXTURES, `${name}.safetensors`);
    const overrides = [
      `blocks[l].ffn.pick.score.w=${golden}#ffn_router`,
      `blocks[l].attn.pick.score.w=${golden}#attention_router`,
    ];
    const options = new Map([
      ["shared", { kind: "bool" as const, value: shared }],
      ["K", count(1)],
    ]);
    const ids = [...(await readValues(golden, "ids"))];
    const expected = await readValues(golden, "logits");
    await withScratch(async (scratch) => {
      const out = join(scratch, "mixture");
      await withPlan("bam", SOURCES, { overrides, options, dtype: "f32" }, (plan) => executeTransfer(plan, out));
      const mixture = await loadModel(out);
      expect(maxDifference(Float32Array.from(await evaluateLogits(mixture, ids)), expected)).toBeLessThan(TOLERANCE);
      await mixture.checkpoint.close();
      const session = await open(out, { device, capacity: 64 });
      try {
        const [logits] = await session.forward([ids]);
        expect(maxDifference(logits!, expected)).toBeLessThan(TOLERANCE);
        const row = (i: number): Float32Array => expected.subarray(i * session.vocab, (i + 1) * session.vocab);
        session.reset(0);
        await session.prefill(0, ids.slice(0, 20));
        expect(maxDifference(session.logits(0), row(19))).toBeLessThan(TOLERANCE);
        for (let i = 20; i < ids.length; i++) {
          await session.step([{ slot: 0, id: ids[i]! }]);
          expect(maxDifference(session.logits(0), row(i))).toBeLessThan(TOLERANCE);
        }
      } finally {
        session.close();
      }
    });
  });
});
