/**
 * The families of the standard library against the golden values of their reference implementation: logits, greedy text,
 * prefill and decode against one full forward, a batch against its sequences. Every folder of fixtures is found and run.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Checkpoint } from "../runtime/checkpoint/store.ts";
import { openCheckpoint } from "../runtime/load/open-checkpoint.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { open } from "../runtime/open.ts";
import type { Session } from "../runtime/session/session.ts";
import { maxDifference } from "./support/close.ts";

const root = join(import.meta.dirname, "fixtures", "families");
const families = readdirSync(root).filter((name) => existsSync(join(root, name, "golden.safetensors")));
const tolerance = 1e-4;

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

test("fixtures are there", () => expect(families).toContain("mixtral"));

describe.each(families)("%s", (name) => {
  let session: Session;
  let golden: Checkpoint;
  beforeAll(async () => {
    session = await open(join(root, name), { device, sequences: 3, capacity: 128 });
    golden = await openCheckpoint(join(root, name, "golden.safetensors"));
  }, 120_000);
  afterAll(async () => {
    session?.close();
    await golden?.close();
  });

  /** Token ids of a golden tensor, a list per sequence. */
  const readIds = async (tensor: string): Promise<number[][]> => {
    const [batch, length] = golden.tensors.get(tensor)!.shape as [number, number];
    const flat = await golden.toFloat32(tensor);
    return Array.from({ length: batch }, (_, b) => [...flat.subarray(b * length, (b + 1) * length)]);
  };

  test.each(["0", "1"])("a full forward gives the golden logits (%s)", async (set) => {
    const ids = await readIds(`ids.${set}`);
    const expected = await golden.toFloat32(`logits.${set}`);
    const logits = await session.forward(ids);
    logits.forEach((found, b) => {
      const wanted = expected.subarray(b * found.length, (b + 1) * found.length);
      expect(maxDifference(found, wanted)).toBeLessThan(tolerance);
    });
  });

  test("greedy generation writes the golden tokens", async () => {
    const [whole] = await readIds("greedy");
    const [prompt] = await readIds("ids.0");
    const found: number[] = [];
    for await (const { token } of session.generate({
      prompts: [prompt!],
      maxTokens: whole!.length - prompt!.length,
      temperature: 0,
    }))
      found.push(token);
    expect([...prompt!, ...found]).toEqual(whole);
  });

  test("a prefill in two pieces and decoding token by token give the full forward's logits", async () => {
    const [ids] = await readIds("ids.1");
    const [full] = await session.forward([ids!]);
    const row = (i: number) => full!.subarray(i * session.vocab, (i + 1) * session.vocab);
    session.reset(0);
    await session.prefill(0, ids!.slice(0, 7));
    expect(maxDifference(session.logits(0), row(6))).toBeLessThan(tolerance);
    await session.prefill(0, ids!.slice(7, 21));
    expect(maxDifference(session.logits(0), row(20))).toBeLessThan(tolerance);
    for (let i = 21; i < ids!.length; i++) {
      await session.step([{ slot: 0, id: ids![i]! }]);
      expect(maxDifference(session.logits(0), row(i))).toBeLessThan(tolerance);
    }
  });

  test("a batch of sequences of different lengths gives what each gives alone", async () => {
    const [a, b] = await readIds("ids.1");
    const batch = [a!, b!.slice(0, 13), a!.slice(0, 1)];
    const together = await session.forward(batch);
    for (const [i, ids] of batch.entries()) {
      const [alone] = await session.forward([ids]);
      expect(maxDifference(together[i]!, alone!)).toBeLessThan(tolerance);
    }
  });

  test("a decoded token takes one submit and no new bind group", async () => {
    const [ids] = await readIds("ids.1");
    session.reset(0);
    await session.prefill(0, ids!.slice(0, 8));
    await session.step([{ slot: 0, id: ids![8]! }]);
    const before = { ...session.counters };
    for (const id of ids!.slice(9, 19)) await session.step([{ slot: 0, id }]);
    expect(session.counters.submits - before.submits).toBe(10);
    expect(session.counters.bindGroups).toBe(before.bindGroups);
  });
});
