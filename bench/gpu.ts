/**
 * The adapter as the roofline sees it. Waiting is polite: while a promise of Dawn is pending, Dawn's Node binding spins the
 * main thread, which on a software adapter takes a core from the shaders; sleeping between its ticks gives it back.
 */
import { create, globals } from "webgpu";

export interface Gpu {
  readonly device: GPUDevice;
  readonly description: string;
  /** Until all submitted work is done. */
  wait(): Promise<void>;
  makePipeline(code: string): Promise<GPUComputePipeline>;
}

export async function openGpu(): Promise<Gpu> {
  Object.assign(globalThis, globals);
  const instance = create([]);
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("no GPU adapter: run `npm run setup`");
  const device = await adapter.requestDevice();
  return {
    device,
    description: adapter.info.description || adapter.info.device,
    wait: () => waitPolitely(device.queue.onSubmittedWorkDone(), instance),
    makePipeline: (code) =>
      device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }) } }),
  };
}

const clock = new Int32Array(new SharedArrayBuffer(4));
const sleepMs = 0.2;

/** `_instance` is kept alive until the promise settles: Dawn's binding needs it to make progress. */
async function waitPolitely(pending: Promise<unknown>, _instance: GPU): Promise<void> {
  let isPending = true;
  const settle = () => (isPending = false);
  pending.then(settle, settle);
  while (isPending) {
    await new Promise((resolve) => setImmediate(resolve));
    if (isPending) Atomics.wait(clock, 0, 0, sleepMs);
  }
  await pending;
}
