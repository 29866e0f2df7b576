/** What a plan that trains does on a device, in one written by hand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Dispatch } from "../../../compiler/plan/plan.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { Buffers, type StepSizes } from "../../../runtime/gpu/buffers.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { Executor } from "../../../runtime/gpu/execute.ts";
import { uploadParameters } from "../../../runtime/gpu/parameters.ts";
import { StagingPool } from "../../../runtime/gpu/readback.ts";
import { buffer, SIZE, source, trainPlan as plan } from "../../support/train-plan.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const SIZES = { T: SIZE, Q: SIZE, S: 1, P: SIZE };

/** The plan on the device: what its entries do, and what lies in memory then. */
class Trained {
  readonly buffers: Buffers;
  readonly executor: Executor;
  readonly #staging = new StagingPool(device);

  private constructor(buffers: Buffers) {
    this.buffers = buffers;
    this.executor = new Executor(device, plan, buffers);
  }

  static async open(sizes: StepSizes = SIZES): Promise<Trained> {
    return new Trained(await Buffers.allocate(device, plan, await uploadParameters(device, plan, source), sizes));
  }

  [Symbol.dispose](): void {
    this.#staging.destroy();
    this.buffers.destroy();
  }

  async micro(x: readonly number[]): Promise<void> {
    this.buffers.writeInput("x", new Uint32Array(Float32Array.from(x).buffer));
    await this.executor.run("micro", SIZES);
  }

  async update(): Promise<void> {
    this.buffers.writeScalars({ step: 1, steps: 2, tokens: 4, micro: 2, drawn: 0 });
    await this.executor.run("update", SIZES);
  }

  gradient(layer: number): Promise<readonly number[]> {
    return this.#read(buffer(`grad.blocks[${layer}].w`));
  }

  weight(layer: number): Promise<readonly number[]> {
    return this.#read({ kind: "parameter", path: `blocks[${layer}].w`, part: 0 });
  }

  visits(): Promise<readonly number[]> {
    return this.#read(buffer("visits"));
  }

  async #read(binding: Dispatch["bindings"][number]): Promise<readonly number[]> {
    const readback = this.#staging.read(this.buffers.find(binding).buffer, SIZE * 4);
    const encoder = device.gpu.createCommandEncoder();
    readback.after(encoder);
    this.executor.submit(encoder, "reading back");
    return [...new Float32Array(await readback.take())];
  }
}

test("micro-batches add up over layers from the last to the first; an update writes the weights, and the next step begins anew", async () => {
  using trained = await Trained.open();
  await trained.micro([1, 1, 1, 1]);
  await trained.micro([2, 4, 8, 16]);
  expect(await trained.gradient(0)).toEqual([3, 10, 27, 68]);
  expect(await trained.gradient(1)).toEqual([24.5, 20.5, 18.5, 17.5]);
  // 2, then the layers 1, 0, 1, 0.
  expect(await trained.visits()).toEqual([28181, 24242, 22323, 21414]);
  await trained.update();
  expect(await trained.weight(0)).toEqual([0.5 - 0.75, 1 - 2.5, 1.5 - 6.75, 2 - 17]);
  expect(await trained.weight(1)).toEqual([4 - 6.125, 2 - 5.125, 1 - 4.625, 0.5 - 4.375]);
  await trained.micro([1, 0, 0, 0]);
  expect(await trained.gradient(0)).toEqual([-0.25, 0, 0, 0]);
  expect(await trained.gradient(1)).toEqual([-2.125 + 0.5, 0.5, 0.5, 0.5]);
  expect((await trained.visits())[0]).toBe(28181 * 100 - 2.125 * 10 - 0.25);
});

test("a second run begins with all that is kept as at the first", async () => {
  using trained = await Trained.open();
  await trained.micro([1, 1, 1, 1]);
  trained.buffers.beginRun();
  expect(await trained.visits()).toEqual([2, 2, 2, 2]);
  expect(await trained.gradient(1)).toEqual([0.5, 0.5, 0.5, 0.5]);
  await trained.micro([1, 1, 1, 1]);
  expect(await trained.gradient(0)).toEqual([1, 2, 3, 4]);
  expect(await trained.visits()).toEqual([281, 242, 223, 214]);
});

test("an entry that is profiled begins and ends a step as it does otherwise", async ({ skip }) => {
  if (!device.hasTimestamps) skip();
  using trained = await Trained.open();
  const querySet = device.gpu.createQuerySet({ type: "timestamp", count: 2 });
  const profile = (name: string): Promise<void> =>
    trained.executor.runTimed(
      name,
      SIZES,
      () => ({ querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 }),
      {},
    );
  await trained.micro([1, 1, 1, 1]);
  await trained.update();
  // The first micro-batch of a step, then the second.
  await profile("micro");
  await trained.micro([0, 0, 0, 0]);
  const [w] = await trained.weight(1);
  expect((await trained.gradient(1))[0]).toBe(w! + 0.5);
  trained.buffers.writeScalars({ step: 2, steps: 2, tokens: 4, micro: 2, drawn: 0 });
  await profile("update");
  await trained.micro([0, 0, 0, 0]);
  expect((await trained.gradient(1))[0]).toBe(0.5);
  querySet.destroy();
});

test("an update without the host's numbers of its own step is refused, and changes nothing", async () => {
  using trained = await Trained.open();
  const refused = /entry update reads the host's numbers, which were not written for this optimizer step/;
  await trained.micro([1, 1, 1, 1]);
  await expect(trained.executor.run("update", SIZES)).rejects.toThrow(refused);
  expect(await trained.weight(0)).toEqual([1, 2, 3, 4]);
  await trained.update();
  const after = await trained.weight(0);
  await trained.micro([1, 1, 1, 1]);
  await expect(trained.executor.run("update", SIZES)).rejects.toThrow(refused);
  expect(await trained.weight(0)).toEqual(after);
});

test.each([
  [{ step: 1, steps: 0, tokens: 4, micro: 2, drawn: 0 }, /`rate` is Infinity in optimizer step 1 of 0/],
  [{ step: 1, steps: 2, tokens: 0, micro: 0, drawn: 0 }, /`decay` is NaN in optimizer step 1 of 2/],
  // Finite in float64.
  [{ step: 1, steps: 2, tokens: 1e-39, micro: 1, drawn: 0 }, /`decay` is Infinity in optimizer step 1 of 2/],
])("a number of the host's that is not finite is refused: of %j", async (host, said) => {
  using trained = await Trained.open();
  expect(() => trained.buffers.writeScalars(host)).toThrow("train/scalar");
  expect(() => trained.buffers.writeScalars(host)).toThrow(said);
  expect(trained.buffers.hasScalars).toBe(false);
});

test("buffers may be allocated for no tokens yet", async () => {
  using trained = await Trained.open({ T: 0, Q: 0, S: 1, P: 0 });
  expect(await trained.visits()).toEqual([2, 2, 2, 2]);
  await trained.buffers.ensure(SIZES);
  await trained.micro([1, 1, 1, 1]);
  expect(await trained.gradient(0)).toEqual([1, 2, 3, 4]);
});
