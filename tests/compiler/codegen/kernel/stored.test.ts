/** What memory keeps is read as it was written, within what its row states: one by one as four at a time, each beside its neighbours. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readerOf, writerOf } from "../../../../compiler/codegen/kernel/stored.ts";
import { KernelWriter } from "../../../../compiler/codegen/kernel/writer.ts";
import type { Binding } from "../../../../compiler/plan/plan.ts";
import { STORE_TYPES, STORES, type StoreType } from "../../../../compiler/plan/store.ts";
import { randomNumbers } from "../../../support/contraction-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const buffer = (id: string): Binding => ({ kind: "buffer", id });

/** Numbers put into memory that holds something else, by as many invocations as there are units, and what is read of them. */
async function keep(values: Float32Array, type: StoreType, write: 1 | 4, read: 1 | 4): Promise<Float32Array> {
  const kernel = (from: StoreType, to: StoreType, width: 1 | 4, [source, target]: readonly [Binding, Binding]) => {
    const w = new KernelWriter();
    const load = readerOf(w, source, from, width);
    const put = writerOf(w, target, to, width);
    const body = `let i = gid.x;\nif (i < ${values.length / width}u) { ${put("i", load("i"))} }`;
    const module = w.finish("copy", [32, 1, 1], body);
    const grid = [Math.ceil(values.length / width / 32), 1, 1] as const;
    return { module, grid, bindings: w.bindings, constants: w.constants };
  };
  const kept = new Uint32Array(Math.ceil((values.length * STORES[type].bits) / 32)).fill(0x5a5a5a5a);
  const out = gpu.upload(new Float32Array(values.length));
  const buffers = new Map([
    [bindingKey(buffer("in")), gpu.upload(values)],
    [bindingKey(buffer("kept")), gpu.upload(kept)],
    [bindingKey(buffer("out")), out],
  ]);
  await gpu.submit([
    await gpu.prepare(kernel("f32", type, write, [buffer("in"), buffer("kept")]), buffers, { T: 1 }),
    await gpu.prepare(kernel(type, "f32", read, [buffer("kept"), buffer("out")]), buffers, { T: 1 }),
  ]);
  return new Float32Array(await gpu.read(out));
}

describe.each(STORE_TYPES)("memory of %s", (type) => {
  const { error, least, largest } = STORES[type];
  const values = randomNumbers(1024, 7).map((x, i) => x * 2 ** ((i % 30) - 16));
  values.set([0, -0, 1, -65504, 65504, 6e-8, -6e-5, 1e-30]);

  test.each([1, 4] as const)("written by %d, is read within its error", async (write) => {
    for (const read of [1, 4] as const) {
      const found = await keep(values, type, write, read);
      const wrong = [...values].flatMap((x, i) =>
        Math.abs(found[i]! - x) <= error * Math.max(Math.abs(x), least) ? [] : [`${x} is read as ${found[i]}`],
      );
      expect(wrong.slice(0, 5)).toEqual([]);
    }
  });

  test.each([1, 4] as const)(
    "written by %d, shows what it has no room for, and leaves the neighbours as they are",
    async (write) => {
      const large = values.map((x, i) => (i % 5 === 3 ? (i % 2 === 0 ? 70000 : -3e38) : Math.max(-1, Math.min(1, x))));
      const found = await keep(large, type, write, 4);
      large.forEach((x, i) => {
        if (Math.abs(x) > largest) expect(found[i]).toBeNaN();
        else expect(Math.abs(found[i]! - x)).toBeLessThanOrEqual(error * Math.max(Math.abs(x), least));
      });
    },
  );
});
