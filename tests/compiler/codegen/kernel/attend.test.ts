import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attendTemplates } from "../../../../compiler/codegen/kernel/select.ts";
import { type AttendShape, makeAttendCase } from "../../../support/attend-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";
import { canRun } from "../../../support/templates.ts";

/** Workgroups in x before they fold into y: small and odd, so that some are left over and must do nothing. */
const FOLD = 7;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

async function check(name: string, regime: "prefill" | "decode", shape: AttendShape): Promise<void> {
  if (!canRun(name, gpu.facts)) return;
  const test = makeAttendCase("attend", shape);
  const template = attendTemplates.find((t) => t.name === name);
  if (template === undefined) throw new Error(`no template ${name}`);
  const kernel = template.emit(test.spec, regime, gpu.facts);
  const buffers = new Map([...test.data].map(([key, data]) => [key, gpu.upload(data)]));
  const out = gpu.upload(new Float32Array(test.output.length).fill(7777));
  buffers.set(bindingKey(test.output.binding), out);
  await gpu.submit([await gpu.prepare(kernel, buffers, { T: shape.tokens.length }, FOLD)]);
  const got = new Float32Array(await gpu.read(out));
  test.output.expected.forEach((want, i) => {
    if (!(Math.abs((got[i] as number) - want) < 2e-5))
      expect(got[i], `${name} ${regime} element ${i}`).toBeCloseTo(want, 5);
  });
}

const sequence = (slot: number, first: number, length: number): AttendShape["tokens"] =>
  Array.from({ length }, (_, i) => ({ slot, position: first + i }));
const heads = { heads: 4, kvHeads: 2, ring: 128 };

describe.each(attendTemplates.map((t) => t.name))("template %s", (name) => {
  describe.each(["prefill", "decode"] as const)("for %s tokens", (regime) => {
    it("attends to every earlier position", async () => {
      for (const tokens of [sequence(0, 0, 1), sequence(0, 0, 5), sequence(0, 0, 37), sequence(1, 70, 33)])
        await check(name, regime, { ...heads, channels: 32, tokens });
    });

    it("keeps sequences apart", async () => {
      const tokens = [...sequence(2, 90, 3), ...sequence(0, 0, 7), ...sequence(1, 16, 1), ...sequence(3, 40, 12)];
      await check(name, regime, { ...heads, channels: 32, tokens });
    });

    it("sees a window only, in a cache that wraps", async () => {
      const tokens = [...sequence(0, 0, 40), ...sequence(1, 250, 20)];
      await check(name, regime, { ...heads, channels: 32, window: 17, tokens });
    });

    it("stops at the start of a chunk, and loses what a sink draws", async () => {
      const tokens = [...sequence(0, 0, 40), ...sequence(1, 250, 20)];
      await check(name, regime, { ...heads, channels: 32, chunk: 24, tokens });
      await check(name, regime, { ...heads, channels: 32, sinks: [-2, 0, 1.5, 6], tokens: sequence(0, 0, 37) });
    });

    it("sees to the end of each sequence where it looks ahead: with a window, a chunk, a soft cap and a sink", async () => {
      const tokens = [...sequence(1, 0, 37), ...sequence(0, 0, 1), ...sequence(2, 0, 20)];
      const sinks = [-2, 0, 1.5, 6];
      for (const more of [{}, { window: 9, chunk: 6, softcap: 1.5, sinks, channels: 6 }])
        await check(name, regime, { ...heads, channels: 32, ahead: true, tokens, ...more });
    });

    it("takes channels that are no multiple of four or of the lanes, and a soft cap", async () => {
      const tokens = sequence(0, 0, 29);
      await check(name, regime, { ...heads, channels: 6, valueChannels: 44, softcap: 1.5, tokens });
      await check(name, regime, { ...heads, channels: 48, valueChannels: 10, tokens });
    });

    it("reads caches of 16 bits, four channels at a time or one", async () => {
      const tokens = [...sequence(0, 0, 40), ...sequence(1, 250, 20)];
      await check(name, regime, { ...heads, channels: 32, store: "f16", window: 17, tokens });
      await check(name, regime, { ...heads, channels: 6, valueChannels: 10, store: "f16", tokens: sequence(0, 0, 29) });
    });

    it("takes wide heads, as many KV heads as heads", async () => {
      const tokens = [...sequence(0, 3, 10), ...sequence(1, 0, 3)];
      await check(name, regime, { heads: 2, kvHeads: 2, ring: 16, channels: 192, valueChannels: 256, tokens });
    });
  });
});
