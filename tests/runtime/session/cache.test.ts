/**
 * Keys and values kept in 16 bits: half the memory, and logits within what rounding them costs of the oracle's, however the sequence is fed and
 * whichever kernels run; a key that has no room is told, not computed with.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileModel, type CompileModelOptions } from "../../../compiler/index.ts";
import type { Plan } from "../../../compiler/plan/plan.ts";
import { toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { ELEMENTS } from "../../../runtime/checkpoint/element-type.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { maxDifference } from "../../support/close.ts";
import { runOracle } from "../../support/oracle.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const A = [3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7, 9, 3, 2, 38, 46];
const B = [2, 7, 18, 28];

/** Of the largest logit. Rounding keys and values to 11 bits moves logits of these families by at most 0.0012 of it. */
const BOUND = 3e-3;

function compile({ model, source }: LoadedModel, more: Partial<CompileModelOptions>): Plan {
  return compileModel(model, { device: device.facts, storage: source.storage, verify: true, ...more });
}

// Windows and soft caps, latents that are values too, sinks, rotary keys.
describe("keys and values in f16 give the oracle's logits within what rounding costs", () => {
  test.each([
    ["gemma2", {}],
    ["deepseek_v3", {}],
    ["gpt_oss", { attend: "attend-gpu" }],
    ["llama", { attend: "attend-gpu" }],
  ])("%s, with kernels %o", async (family, force) => {
    const loaded = await loadModel(`tests/fixtures/families/${family}`);
    const plan = compile(loaded, { cache: "f16", force });
    const caches = (of: Plan) => of.states.filter((s) => s.bytesPerToken > 0);
    expect(caches(plan).map((s) => [s.store, 2 * s.bytesPerToken])).toEqual(
      caches(compile(loaded, {})).map((s) => ["f16", s.bytesPerToken]),
    );
    using session = await openSession({ plan, device, source: loaded.source, sequences: 2, capacity: 64 });
    const [full, other] = [await runOracle(loaded, A), await runOracle(loaded, B)];
    const largest = full.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const expectNear = (found: Float32Array, wanted: Float64Array): void =>
      expect(maxDifference(found, wanted) / largest).toBeLessThan(BOUND);
    const row = (logits: Float64Array, t: number): Float64Array =>
      logits.subarray(t * session.vocab, (t + 1) * session.vocab);
    const [whole] = await session.forward([A]);
    expectNear(whole!, full);
    // It is not f32 after all.
    expect(maxDifference(whole!, full) / largest).toBeGreaterThan(1e-6);
    session.reset(0);
    await session.prefill(0, B);
    expectNear(session.logits(0), row(other, B.length - 1));
    await session.prefill(1, A.slice(0, 7));
    await session.prefill(1, A.slice(7, 11));
    for (let t = 11; t < A.length; t++) {
      await session.step([{ slot: 1, id: A[t]! }]);
      expectNear(session.logits(1), row(full, t));
    }
    await loaded.checkpoint.close();
  });
});

test("a key beyond 65504 makes the result not finite, and that is said", async () => {
  const loaded = await loadModel("tests/fixtures/families/llama");
  const plan = compile(loaded, { cache: "f16" });
  const { source } = loaded;
  const path = plan.parameters.find((p) => p.path.endsWith(".k.w"))!.path;
  const large: typeof source = {
    ...source,
    read: async (name, start, length) => {
      const bytes = await source.read(name, start, length);
      if (name !== path) return bytes;
      const values = toFloat32(ELEMENTS[source.storage(name)].dtype, bytes.slice());
      return new Uint8Array(values.map((x) => x * 1e7).buffer);
    },
  };
  using session = await openSession({ plan, device, source: large, sequences: 1, capacity: 16 });
  await expect(session.forward([B])).rejects.toMatchObject({ diagnostics: [{ code: "session/not-finite" }] });
  using wide = await openSession({ plan: compile(loaded, {}), device, source: large, sequences: 1, capacity: 16 });
  expect((await wide.forward([B]))[0]!.every(Number.isFinite)).toBe(true);
  await loaded.checkpoint.close();
});
