/** Every fixture of a model family, from its folder through the compiler to the device, against its reference values. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSafetensors, toFloat32 } from "../../runtime/checkpoint/index.ts";
import { type Device, openDevice } from "../../runtime/device.ts";
import { open } from "../../runtime/open.ts";
import type { Session } from "../../runtime/session.ts";

const root = join(import.meta.dirname, "../fixtures/families");

let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

/** The largest difference that two ways of summing in float32 make at these sizes. */
const TOLERANCE = 5e-5;

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const worst = actual.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0);
  expect(worst).toBeLessThan(TOLERANCE);
}

/** A tensor of the reference values as rows along its first axis. */
async function readGolden(folder: string, name: string): Promise<Float32Array[]> {
  const file = await openSafetensors(join(folder, "golden.safetensors"));
  try {
    const { dtype, shape } = file.tensors.get(name)!;
    const values = toFloat32(dtype, await file.read(name));
    const size = values.length / shape[0]!;
    return Array.from({ length: shape[0]! }, (_, i) => values.slice(i * size, (i + 1) * size));
  } finally {
    await file.close();
  }
}

describe.each(readdirSync(root))("%s", (family) => {
  const folder = join(root, family);
  let session: Session;
  beforeAll(async () => void (session = await open(folder, { device, sequences: 3, capacity: 64 })));
  afterAll(() => session.close());

  test("one forward gives the reference's logits, for one sequence and for two", async () => {
    for (const i of [0, 1]) {
      const logits = await session.forward(await readGolden(folder, `ids.${i}`));
      const expected = await readGolden(folder, `logits.${i}`);
      logits.forEach((values, row) => expectClose(values, expected[row]!));
    }
  });

  test("prefill followed by steps gives what one forward gives", async () => {
    const texts = await readGolden(folder, "ids.1");
    const expected = await readGolden(folder, "logits.1");
    const from = 33;
    for (const [slot, ids] of texts.entries()) await session.prefill(slot, ids.subarray(0, from));
    for (let t = from; t < texts[0]!.length; t++) {
      await session.step(texts.map((ids, slot) => ({ slot, id: ids[t]! })));
      expected.forEach((logits, slot) =>
        expectClose(session.logits(slot), logits.subarray(t * session.vocab, (t + 1) * session.vocab)),
      );
    }
  });

  test("greedy generation gives the reference's tokens", async () => {
    const [greedy] = await readGolden(folder, "greedy");
    const [ids] = await readGolden(folder, "ids.0");
    const tokens: number[] = [];
    for await (const { token } of session.generate({ prompts: [ids!], maxTokens: greedy!.length - ids!.length }))
      tokens.push(token);
    expect([...ids!, ...tokens]).toEqual([...greedy!]);
  });
});
