import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GroupSpec, emitGroup, tilesElements } from "../../../../compiler/codegen/kernel/contraction/group.ts";
import { DEVICE_KINDS, type DeviceKind } from "../../../../compiler/plan/facts.ts";
import { type Binding, evaluateSize } from "../../../../compiler/plan/plan.ts";
import { randomNumbers } from "../../../support/contraction-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const buffer = (id: string): Binding => ({ kind: "buffer", id });

/** Runs the kernel and compares with a stable sort. Both buffers start full of rubbish. */
async function check(index: Uint32Array, banks: number, tileRows: number, kind: DeviceKind): Promise<void> {
  const sizes = { T: index.length, Q: 0, S: 0, P: 0 };
  const spec: GroupSpec = {
    id: "group",
    banks,
    tileRows,
    choices: "T",
    choiceCount: (w) => w.step("T"),
    index: buffer("index"),
    order: buffer("order"),
    tiles: buffer("tiles"),
  };
  const order: number[] = [];
  // Of tiles, and behind them of banks.
  const tiles: number[] = [];
  for (let bank = 0; bank < banks; bank++) {
    const first = order.length;
    index.forEach((b, choice) => {
      if (b === bank) order.push(choice);
    });
    for (let at = first; at < order.length; at += tileRows)
      tiles.push(bank, at, Math.min(tileRows, order.length - at), 0);
  }
  const room = evaluateSize(tilesElements("T", banks, tileRows), sizes);
  expect(tiles.length).toBeLessThanOrEqual(room);
  while (tiles.length < room - 4 * banks) tiles.push(0);
  for (let bank = 0, at = 0; bank < banks; bank++) {
    const count = index.filter((b) => b === bank).length;
    tiles.push(bank, at, count, 0);
    at += count;
  }

  const buffers = new Map([
    [bindingKey(spec.index), gpu.upload(index)],
    [bindingKey(spec.order), gpu.upload(new Uint32Array(index.length).fill(99))],
    [bindingKey(spec.tiles), gpu.upload(new Uint32Array(room).fill(99))],
  ]);
  await gpu.submit([await gpu.prepare(emitGroup(spec, { ...gpu.facts, ...DEVICE_KINDS[kind] }), buffers, sizes)]);
  const read = async (b: Binding): Promise<Uint32Array> =>
    new Uint32Array(await gpu.read(buffers.get(bindingKey(b)) as GPUBuffer));
  expect((await read(spec.order)).subarray(0, order.length)).toEqual(Uint32Array.from(order));
  expect((await read(spec.tiles)).subarray(0, room)).toEqual(Uint32Array.from(tiles));
}

const spread = (length: number, banks: number): Uint32Array =>
  Uint32Array.from(randomNumbers(length, length + banks), (x) => Math.floor((x + 1) * 0.5 * banks));

describe.each(["software", "gpu"] as const)("the group kernel for %s", (kind) => {
  it("sorts choices by bank, stably, and cuts tiles", async () => {
    for (const choices of [1, 2, 7, 8, 9, 31, 128, 1000]) await check(spread(choices, 5), 5, 16, kind);
  });

  it("takes every choice in one bank, and banks without choices", async () => {
    await check(new Uint32Array(100).fill(3), 5, 16, kind);
    await check(
      Uint32Array.from({ length: 100 }, (_, i) => 4 * (i % 2)),
      5,
      16,
      kind,
    );
  });

  it("takes 512 banks", async () => {
    await check(spread(4096, 512), 512, 32, kind);
    await check(spread(10, 512), 512, 32, kind);
  });

  it("leaves choices without a bank out", async () => {
    await check(
      Uint32Array.from({ length: 50 }, (_, i) => (i % 3 === 0 ? 0xffffffff : i % 5)),
      5,
      16,
      kind,
    );
  });
});
