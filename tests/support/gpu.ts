/**
 * A WebGPU device for kernel tests, and one call that runs a kernel over arrays. Takes the GPU that is there, and Mesa's
 * software adapter where there is none; subgroups and f16 when it has them.
 */
import { existsSync } from "node:fs";
import { create, globals } from "webgpu";
import { DEVICE_KINDS } from "../../compiler/plan/facts.ts";
import {
  type Binding,
  type DeviceFacts,
  type KernelModule,
  type Size,
  evaluateSize,
} from "../../compiler/plan/plan.ts";

export type Words = Float32Array | Uint32Array;

export interface TestKernel {
  readonly module: KernelModule;
  readonly grid: readonly [Size, Size, Size];
  readonly bindings: readonly Binding[];
  readonly constants: Readonly<Record<string, number>>;
}

export interface TestGpu {
  readonly device: GPUDevice;
  readonly facts: DeviceFacts;
  /** Pipelines are kept by their WGSL and constants. */
  pipeline(kernel: TestKernel): Promise<GPUComputePipeline>;
  upload(data: Words): GPUBuffer;
  /**
   * Binds by the key of each binding (`bindingKey`); `step` is made from `sizes`. Workgroups over `limit` in x, the
   * device's own when not given, are folded into y.
   */
  prepare(
    kernel: TestKernel,
    buffers: ReadonlyMap<string, GPUBuffer>,
    sizes: StepSizes,
    limit?: number,
  ): Promise<Prepared>;
  /** Runs what was prepared, in order, in one pass, and waits for it. */
  submit(steps: readonly Prepared[], times?: number): Promise<void>;
  read(buffer: GPUBuffer): Promise<ArrayBuffer>;
  /** Destroys all buffers that were made so far. */
  release(): void;
  close(): void;
}

export interface Prepared {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
}

export interface StepSizes {
  readonly T: number;
  readonly Q?: number;
  readonly S?: number;
  readonly P?: number;
}

export function bindingKey(binding: Binding): string {
  return JSON.stringify(binding);
}

/** Opens the adapter; `instance` stays referenced until `close`, as Dawn's Node binding needs. */
export async function openTestGpu(): Promise<TestGpu> {
  const lavapipe = "/usr/share/vulkan/icd.d/lvp_icd.json";
  if (!existsSync("/dev/nvidiactl") && existsSync(lavapipe)) process.env["VK_DRIVER_FILES"] ??= lavapipe;
  Object.assign(globalThis, globals);
  let instance: GPU | null = create([]);
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("no WebGPU adapter: install Mesa's Vulkan drivers");
  const wanted: GPUFeatureName[] = ["subgroups", "shader-f16"];
  const limits = Object.fromEntries(
    Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(adapter.limits)))
      .filter(([, d]) => d.get !== undefined)
      .map(([name]) => [name, (adapter.limits as unknown as Record<string, number>)[name] as number])
      .filter(([, value]) => typeof value === "number"),
  ) as Record<string, number>;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((f) => adapter.features.has(f)),
    requiredLimits: limits,
  });
  const info = adapter.info;
  const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize } = device.limits;
  const isSoftware = /llvmpipe|swiftshader/i.test(`${info.device} ${info.description} ${info.architecture}`);
  const facts: DeviceFacts = {
    ...DEVICE_KINDS[isSoftware ? "software" : "gpu"],
    subgroup: device.features.has("subgroups")
      ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 }
      : null,
    f16: device.features.has("shader-f16"),
    maxBinding: maxStorageBufferBindingSize,
    maxBuffer: maxBufferSize,
    workgroupMemory: maxComputeWorkgroupStorageSize,
    maxInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
    maxStorageBuffers: device.limits.maxStorageBuffersPerShaderStage,
    maxWorkgroups: device.limits.maxComputeWorkgroupsPerDimension,
  };
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM;
  const made: GPUBuffer[] = [];
  const pipelines = new Map<string, Promise<GPUComputePipeline>>();
  const gpu: TestGpu = {
    device,
    facts,
    async pipeline(kernel) {
      const key = kernel.module.wgsl + JSON.stringify(kernel.constants);
      let pipeline = pipelines.get(key);
      if (pipeline === undefined) {
        const module = device.createShaderModule({ code: kernel.module.wgsl, label: kernel.module.id });
        const messages = (await module.getCompilationInfo()).messages.filter((m) => m.type === "error");
        if (messages.length > 0)
          throw new Error(`${messages.map((m) => `${m.lineNum}: ${m.message}`).join("\n")}\n${kernel.module.wgsl}`);
        const constants = { ...kernel.constants };
        pipeline = device.createComputePipelineAsync({
          layout: "auto",
          compute: { module, entryPoint: "main", constants },
        });
        pipelines.set(key, pipeline);
      }
      return pipeline;
    },
    upload(data) {
      const buffer = device.createBuffer({ size: Math.max(16, Math.ceil(data.byteLength / 16) * 16), usage });
      made.push(buffer);
      device.queue.writeBuffer(buffer, 0, data as GPUAllowSharedBufferSource);
      return buffer;
    },
    async prepare(kernel, buffers, sizes, limit = facts.maxWorkgroups) {
      const pipeline = await gpu.pipeline(kernel);
      const all = { T: sizes.T, Q: sizes.Q ?? sizes.T, S: sizes.S ?? 1, P: sizes.P ?? sizes.T };
      const entries = kernel.bindings.map((binding, i) => {
        const buffer =
          binding.kind === "step"
            ? gpu.upload(new Uint32Array([all.T, all.Q, all.S, all.P]))
            : buffers.get(bindingKey(binding));
        if (buffer === undefined) throw new Error(`no buffer for ${bindingKey(binding)}`);
        return { binding: i, resource: { buffer } };
      });
      const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      const [x, y, z] = kernel.grid.map((s) => evaluateSize(s, all)) as [number, number, number];
      const folds = Math.ceil(x / limit);
      return { pipeline, group, grid: folds <= 1 ? [x, y, z] : [Math.ceil(x / folds), folds * y, z] };
    },
    async submit(steps, times = 1) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = 0; i < times; i++)
        for (const s of steps) {
          pass.setPipeline(s.pipeline);
          pass.setBindGroup(0, s.group);
          pass.dispatchWorkgroups(...s.grid);
        }
      pass.end();
      device.queue.submit([encoder.finish()]);
      await politely(device.queue.onSubmittedWorkDone());
    },
    async read(buffer) {
      const size = buffer.size;
      const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await politely(staging.mapAsync(GPUMapMode.READ));
      const copy = staging.getMappedRange().slice(0);
      staging.destroy();
      return copy;
    },
    release() {
      for (const buffer of made.splice(0)) buffer.destroy();
    },
    close() {
      device.destroy();
      instance = null;
    },
  };
  return gpu;
}

/** Waits without spinning: while a promise of Dawn is pending its event loop would burn the core that a software adapter computes on. */
async function politely<R>(promise: Promise<R>): Promise<R> {
  let settled = false;
  const done = (): void => void (settled = true);
  promise.then(done, done);
  const nap = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; !settled; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!settled && i > 20) Atomics.wait(nap, 0, 0, 1);
  }
  return promise;
}
