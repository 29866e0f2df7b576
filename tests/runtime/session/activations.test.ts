/**
 * What kernels leave for each other, in 16 bits: half the memory for rows of numbers, and logits within what rounding them costs of the oracle's,
 * in prompts, decoding and whole sequences; a number that has no room is told, not computed with.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileModel, type CompileModelOptions } from "../../../compiler/index.ts";
import { heldBytes, type Plan } from "../../../compiler/plan/plan.ts";
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

const IDS = [3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7, 9, 3, 2, 38, 46];

/** Of the largest logit: a rounding to 11 bits for each of the kernels that a row comes through. */
const BOUND = 1e-2;

function compile({ model, source }: LoadedModel, more: Partial<CompileModelOptions>): Plan {
  return compileModel(model, { device: device.facts, storage: source.storage, verify: true, ...more });
}

const between = (plan: Plan, store: string): Plan["buffers"] =>
  plan.buffers.filter((b) => b.role === "temporary" && b.type === "f32" && b.store === store);
const bytesOf = (buffers: Plan["buffers"]): number =>
  buffers.reduce((n, b) => n + heldBytes(b, { T: 64, Q: 64, S: 1, P: 64 }), 0);

// Dense and sparse feed-forwards, latents, the delta rule, norms behind what they follow.
describe("rows of numbers in f16 between kernels give the oracle's logits within what rounding costs", () => {
  test.each([
    ["llama", {}],
    ["mixtral", {}],
    ["gemma2", { attend: "attend-gpu" }],
    ["deepseek_v3", {}],
  ])("%s, with kernels %o", async (family, force) => {
    const loaded = await loadModel(`tests/fixtures/families/${family}`);
    const [exact, plan] = [compile(loaded, { force }), compile(loaded, { force, activations: "f16" })];
    const halved = between(plan, "f16");
    expect(halved.length).toBeGreaterThan(0);
    expect(between(exact, "f16")).toEqual([]);
    const same = exact.buffers.filter((b) => halved.some((h) => h.id === b.id));
    expect(bytesOf(halved)).toBe(bytesOf(same) / 2);
    using session = await openSession({ plan, device, source: loaded.source, sequences: 1, capacity: 64 });
    const full = await runOracle(loaded, IDS);
    const largest = full.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const [whole] = await session.forward([IDS]);
    expect(maxDifference(whole!, full) / largest).toBeLessThan(BOUND);
    // It is not f32 after all.
    expect(maxDifference(whole!, full) / largest).toBeGreaterThan(1e-6);
    await session.prefill(0, IDS.slice(0, 11));
    for (let t = 11; t < IDS.length; t++) {
      await session.step([{ slot: 0, id: IDS[t]! }]);
      const row = full.subarray(t * session.vocab, (t + 1) * session.vocab);
      expect(maxDifference(session.logits(0), row) / largest).toBeLessThan(BOUND);
    }
    await loaded.checkpoint.close();
  });
});

test("a number beyond 65504 makes the result not finite, and that is said", async () => {
  const loaded = await loadModel("tests/fixtures/families/llama");
  const { source } = loaded;
  const large: typeof source = {
    ...source,
    read: async (name, start, length) => {
      const bytes = await source.read(name, start, length);
      if (!name.endsWith("mlp.up.w")) return bytes;
      const values = toFloat32(ELEMENTS[source.storage(name)].dtype, bytes.slice());
      return new Uint8Array(values.map((x) => x * 1e7).buffer);
    },
  };
  const plan = compile(loaded, { activations: "f16" });
  using session = await openSession({ plan, device, source: large, sequences: 1, capacity: 16 });
  await expect(session.forward([IDS])).rejects.toMatchObject({ diagnostics: [{ code: "session/not-finite" }] });
  using wide = await openSession({ plan: compile(loaded, {}), device, source: large, sequences: 1, capacity: 16 });
  expect((await wide.forward([IDS]))[0]!.every(Number.isFinite)).toBe(true);
  await loaded.checkpoint.close();
});
