import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ContractionSpec } from "../../../../compiler/codegen/kernel/contraction/contraction.ts";
import { WEIGHT_FORMATS } from "../../../../compiler/plan/format.ts";
import { contractionTemplates } from "../../../../compiler/codegen/kernel/select.ts";
import { type ContractionCase, type ContractionShape, makeContractionCase } from "../../../support/contraction-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";
import { canRun } from "../../../support/templates.ts";

/** Workgroups in x before they fold into y: small and odd, so that some are left over and must do nothing. */
const FOLD = 7;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Runs a case through one template, whatever the device, and compares every output with float64. */
async function check(
  name: string,
  test: ContractionCase,
  tokens: number,
  more: ReadonlyMap<string, GPUBuffer> = new Map(),
): Promise<void> {
  if (!canRun(name, gpu.facts)) return;
  const template = contractionTemplates.find((t) => t.name === name);
  if (template === undefined) throw new Error(`no template ${name}`);
  const kernel = template.emit(test.spec, gpu.facts);
  const buffers = new Map(more);
  for (const [key, data] of test.data) buffers.set(key, gpu.upload(data));
  // What the kernel must leave alone keeps this value.
  for (const { binding, length } of test.outputs)
    buffers.set(bindingKey(binding), gpu.upload(new Float32Array(length).fill(7777)));
  await gpu.submit([await gpu.prepare(kernel, buffers, { T: tokens }, FOLD)]);
  for (const { binding, expected } of test.outputs) {
    const got = new Float32Array(await gpu.read(buffers.get(bindingKey(binding)) as GPUBuffer)).subarray(
      0,
      expected.length,
    );
    const scale = Math.sqrt(test.spec.k) * 4;
    for (let i = 0; i < expected.length; i++) {
      const want = Number.isNaN(expected[i]) ? 7777 : (expected[i] as number);
      if (!(Math.abs((got[i] as number) - want) <= 2e-6 * scale))
        expect(got[i], `${name} element ${i} of ${expected.length}`).toBeCloseTo(want, 5);
    }
  }
}

/** Order and tiles as the group kernel makes them: choices of a bank ascending, cut into tiles. */
function tilesOf(spec: ContractionSpec, index: Uint32Array): Map<string, GPUBuffer> {
  const routing = spec.routing;
  if (routing === null || routing.order === null || routing.tiles === null) return new Map();
  const order: number[] = [];
  const tiles: number[] = [];
  for (let bank = 0; bank < routing.banks; bank++) {
    const first = order.length;
    index.forEach((b, choice) => {
      if (b === bank) order.push(choice);
    });
    for (let at = first; at < order.length; at += routing.tileRows)
      tiles.push(bank, at, Math.min(routing.tileRows, order.length - at), 0);
  }
  const room = Math.ceil(index.length / routing.tileRows) + Math.min(routing.banks, index.length);
  const padded = new Uint32Array(room * 4);
  padded.set(tiles);
  return new Map([
    [bindingKey(routing.order), gpu.upload(Uint32Array.from(order))],
    [bindingKey(routing.tiles), gpu.upload(padded)],
  ]);
}

const many = contractionTemplates.filter((t) => t.regime === "prefill").map((t) => t.name);
const few = contractionTemplates.filter((t) => t.regime === "decode").map((t) => t.name);

/** One shape per pipeline; the numbers of rows then cost no compilation. */
const dense: Readonly<Record<string, Omit<ContractionShape, "tokens">>> = {
  "columns and k that are no multiples of four": { k: 37, groups: [{ cols: 45, matrices: 1, storage: "f32" }] },
  ...Object.fromEntries(
    WEIGHT_FORMATS.map((storage) => [
      `two matrices of ${storage} at the same column, k even but no multiple of four`,
      { k: 70, groups: [{ cols: 132, matrices: 2, storage }] },
    ]),
  ),
  "groups of unlike columns, matrices and storage": {
    k: 32,
    groups: [
      { cols: 96, matrices: 1, storage: "f32" },
      { cols: 6, matrices: 2, storage: "bf16" },
    ],
  },
  ...Object.fromEntries(
    WEIGHT_FORMATS.map((storage) => [
      `${storage} that lies for the other direction, columns and k no multiples of four`,
      { k: 37, groups: [{ cols: 45, matrices: 1, storage, transposed: true }] },
    ]),
  ),
};

describe.each(many)("template %s", (name) => {
  it.each(Object.keys(dense))("multiplies %s, for any number of rows", async (title) => {
    for (const tokens of [1, 3, 33, 64])
      await check(name, makeContractionCase("dense", { ...(dense[title] as ContractionShape), tokens }), tokens);
  });

  it("multiplies each choice by its own bank, whatever the load", async () => {
    const groups = [{ cols: 40, matrices: 2, storage: "f32" as const }];
    const loads: readonly (((choice: number) => number) | undefined)[] = [undefined, () => 3, (s) => (s % 2) * 4];
    for (const bankOf of loads) {
      const routing = { banks: 5, choices: 2, aPer: "token" as const, tileRows: 16, ...(bankOf ? { bankOf } : {}) };
      const test = makeContractionCase("grouped", { tokens: 37, k: 24, groups, routing });
      await check(name, test, 37, tilesOf(test.spec, test.index));
    }
  });

  it.each(WEIGHT_FORMATS)(
    "multiplies each choice by its own bank, which lies for the other direction, in %s",
    async (storage) => {
      const groups = [{ cols: 35, matrices: 1, storage, transposed: true }];
      const bankOf = (choice: number): number => [0, 3, 3, 4][choice % 4]!;
      const routing = { banks: 5, choices: 2, aPer: "choice" as const, tileRows: 16, bankOf };
      const test = makeContractionCase("grouped", { tokens: 37, k: 70, groups, routing });
      await check(name, test, 37, tilesOf(test.spec, test.index));
    },
  );

  it.each(WEIGHT_FORMATS)(
    "leaves the choices of banks in other parts alone, and reads a row per choice, in %s",
    async (storage) => {
      const groups = [{ cols: 20, matrices: 1, storage }];
      const routing = { banks: 4, choices: 4, aPer: "choice" as const, tileRows: 32, part: { start: 1, count: 2 } };
      const test = makeContractionCase("part", { tokens: 20, k: 40, groups, routing });
      await check(name, test, 20, tilesOf(test.spec, test.index));
    },
  );
});

describe.each(few)("template %s", (name) => {
  it.each(Object.keys(dense))("multiplies %s, for one row to nine", async (title) => {
    for (const tokens of [1, 2, 8, 9])
      await check(name, makeContractionCase("dense", { ...(dense[title] as ContractionShape), tokens }), tokens);
  });

  it("gathers the bank of each choice", async () => {
    const groups = [{ cols: 40, matrices: 2, storage: "f32" as const }];
    for (const tokens of [1, 3]) {
      const routing = { banks: 5, choices: 2, aPer: "token" as const, tileRows: 16 };
      await check(name, makeContractionCase("gathered", { tokens, k: 30, groups, routing }), tokens);
    }
  });

  it.each(WEIGHT_FORMATS)("sums a token's choices by their scales, in %s", async (storage) => {
    const groups = [{ cols: 38, matrices: 1, storage, transposed: storage === "bf16" }];
    for (const tokens of [1, 3]) {
      const routing = { banks: 4, choices: 4, aPer: "choice" as const, tileRows: 16, combine: true };
      await check(name, makeContractionCase("combined", { tokens, k: 72, groups, routing }), tokens);
    }
  });

  it("leaves the choices of banks in other parts alone", async () => {
    const groups = [{ cols: 20, matrices: 1, storage: "f16" as const }];
    const routing = { banks: 4, choices: 4, aPer: "choice" as const, tileRows: 16, part: { start: 1, count: 2 } };
    await check(name, makeContractionCase("part", { tokens: 5, k: 16, groups, routing }), 5);
  });
});
