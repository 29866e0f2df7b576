import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attendGradTemplates } from "../../../../compiler/codegen/kernel/select.ts";
import { type AttendGradShape, makeAttendGradCase } from "../../../support/attend-grad-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";
import { canRun } from "../../../support/templates.ts";

/** Workgroups in x before they fold into y: small and odd, so that some are left over and must do nothing. */
const FOLD = 7;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

async function check(
  name: string,
  shape: Omit<AttendGradShape, "of">,
  parts: readonly AttendGradShape["of"][] = ["q", "kv"],
): Promise<void> {
  if (!canRun(name, gpu.facts)) return;
  const template = attendGradTemplates.find((t) => t.name === name)!;
  for (const of of parts) {
    const test = makeAttendGradCase("gradient", { ...shape, of });
    const kernel = template.emit(test.spec, gpu.facts);
    const buffers = new Map([...test.data].map(([key, data]) => [key, gpu.upload(data)]));
    for (const { binding, expected } of test.outputs)
      buffers.set(bindingKey(binding), gpu.upload(new Float32Array(expected.length).fill(7777)));
    await gpu.submit([await gpu.prepare(kernel, buffers, { T: shape.tokens.length }, FOLD)]);
    for (const { binding, expected } of test.outputs) {
      const got = new Float32Array(await gpu.read(buffers.get(bindingKey(binding))!));
      const wrong = [...expected].flatMap((want, i) =>
        Math.abs(got[i]! - want) < 2e-5 * Math.max(1, Math.abs(want)) ? [] : [`[${i}] is ${got[i]}, not ${want}`],
      );
      expect(wrong.slice(0, 4), `${name} ${of} ${bindingKey(binding)}`).toEqual([]);
    }
  }
}

const sequence = (slot: number, first: number, length: number): AttendGradShape["tokens"] =>
  Array.from({ length }, (_, i) => ({ slot, position: first + i }));
const heads = { heads: 4, kvHeads: 2, channels: 32 };

describe.each(attendGradTemplates.map((t) => t.name))("template %s", (name) => {
  it("passes back to every earlier position, and adds up the heads that share keys", async () => {
    for (const tokens of [sequence(0, 0, 1), sequence(0, 0, 5), sequence(0, 0, 37)])
      await check(name, { ...heads, tokens }, ["q", "k", "v", "kv"]);
  });

  it("keeps sequences apart, wherever in a block they begin", async () => {
    const tokens = [...sequence(2, 0, 3), ...sequence(0, 0, 7), ...sequence(1, 0, 1), ...sequence(3, 0, 44)];
    await check(name, { ...heads, tokens });
  });

  it("passes nothing back beyond a window or the start of a chunk", async () => {
    const tokens = [...sequence(0, 0, 70), ...sequence(1, 0, 20)];
    const wide = { ...heads, channels: 48, valueChannels: 12, tokens };
    await check(name, { ...wide, window: 13, chunk: 30 });
    await check(name, { ...wide, window: 25, chunk: 32, causal: false });
  });

  it("takes channels that are no multiple of four, and a soft cap", async () => {
    await check(name, { ...heads, channels: 6, valueChannels: 44, softcap: 1.5, tokens: sequence(0, 0, 29) });
  });

  it("takes wide heads, as many heads of keys as of queries", async () => {
    await check(name, { heads: 2, kvHeads: 2, channels: 192, valueChannels: 256, tokens: sequence(0, 0, 11) });
  });
});
