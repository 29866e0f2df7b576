/**
 * What the adapter can do at most through Dawn, with the simplest kernels there are: numbers to hold every other against. They
 * depend on nothing of moec, so they are also the thermometer that tells a quiet machine from a busy one.
 */
import { type Engine, type Measurement, type TaskName, measurement, timeCalls } from "./engine.ts";
import { ROOFLINE } from "./engines.ts";
import { type Gpu, openGpu } from "./gpu.ts";

interface Probe {
  /** Encodes and submits once. */
  readonly submit: () => void;
  /** What one submission does, in the task's unit times seconds. */
  readonly amount: number;
}

const repetitions = 5;

export const engines: readonly Engine[] = [makeEngine()];

function makeEngine(): Engine {
  let gpu: Gpu | null = null;
  const probes = new Map<TaskName, Probe>();
  const run = async (name: TaskName) => {
    const probe = probes.get(name);
    if (!probe || !gpu) throw new Error(`the roofline does not measure ${name}`);
    const { wait } = gpu;
    const seconds = await timeCalls(repetitions, () => {
      probe.submit();
      return wait();
    });
    return probe.amount / seconds;
  };
  return {
    name: ROOFLINE,
    runsOn: "gpu",
    tasks: ["fma-peak", "streaming-read", "dispatches", "submits"],
    async prepare() {
      gpu = await openGpu();
      probes.set("fma-peak", await makeFmaPeak(gpu));
      probes.set("streaming-read", await makeStreamingRead(gpu));
      probes.set("dispatches", await makeDispatches(gpu, "one submit"));
      probes.set("submits", await makeDispatches(gpu, "one each"));
      for (const name of probes.keys()) await run(name);
    },
    async measure(task): Promise<Measurement> {
      return measurement(task, await run(task));
    },
  };
}

/** Two independent chains of vec4 multiply-adds in every invocation, unrolled, nothing from memory. */
async function makeFmaPeak(gpu: Gpu): Promise<Probe> {
  const [groups, lanes, steps, unrolled] = [1024, 64, 512, 16];
  const pipeline = await gpu.makePipeline(`
    @group(0) @binding(0) var<storage, read_write> result: array<vec4f>;
    @compute @workgroup_size(${lanes}) fn main(@builtin(global_invocation_id) id: vec3u) {
      let m = vec4f(0.999 + f32(id.x) * 1e-9);
      var a = vec4f(f32(id.x));
      var b = a + 1.0;
      for (var i = 0u; i < ${steps}u; i++) { ${"a = fma(a, m, vec4f(0.5)); b = fma(b, m, vec4f(0.25));".repeat(unrolled)} }
      result[id.x] = a + b;
    }`);
  const group = bind(gpu, pipeline, groups * lanes * 16);
  return {
    submit: () => submit(gpu, pipeline, group, groups),
    amount: (groups * lanes * steps * unrolled * 2 * 4 * 2) / 1e9,
  };
}

/** Every vec4 of 64 MiB once. Wide workgroups suit a GPU, narrow ones a CPU that runs them: the faster one counts. */
async function makeStreamingRead(gpu: Gpu): Promise<Probe> {
  const wide = await makeReader(gpu, 256, 16);
  const narrow = await makeReader(gpu, 8, 256);
  const seconds = async ({ submit: start }: Probe) => {
    return await timeCalls(repetitions, () => {
      start();
      return gpu.wait();
    });
  };
  return (await seconds(wide)) < (await seconds(narrow)) ? wide : narrow;
}

/** Neighbouring invocations read neighbouring vec4s, `each` of them one after the other. */
async function makeReader(gpu: Gpu, lanes: number, each: number): Promise<Probe> {
  const bytes = 64 * 2 ** 20;
  const invocations = bytes / 16 / each;
  const pipeline = await gpu.makePipeline(`
    @group(0) @binding(0) var<storage, read_write> result: array<vec4f>;
    @group(0) @binding(1) var<storage, read> source: array<vec4f>;
    @compute @workgroup_size(${lanes}) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
      let start = group.x * ${lanes * each}u + lane;
      var sum = vec4f();
      for (var i = 0u; i < ${each}u; i++) { sum += source[start + i * ${lanes}u]; }
      result[group.x * ${lanes}u + lane] = sum;
    }`);
  const group = bind(gpu, pipeline, invocations * 16, bytes);
  return { submit: () => submit(gpu, pipeline, group, invocations / lanes), amount: bytes / 1e9 };
}

/** A kernel that does next to nothing, many times: what is left is the price of asking. */
async function makeDispatches(gpu: Gpu, how: "one submit" | "one each"): Promise<Probe> {
  const count = how === "one submit" ? 1000 : 200;
  const pipeline = await gpu.makePipeline(`
    @group(0) @binding(0) var<storage, read_write> result: array<u32>;
    @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) lane: u32) { result[lane] += 1u; }`);
  const group = bind(gpu, pipeline, 64);
  return {
    submit: () => {
      if (how === "one submit") submit(gpu, pipeline, group, 1, count);
      else for (let i = 0; i < count; i++) submit(gpu, pipeline, group, 1);
    },
    amount: count,
  };
}

function bind({ device }: Gpu, pipeline: GPUComputePipeline, ...sizes: readonly number[]): GPUBindGroup {
  const entries = sizes.map((size, binding) => ({
    binding,
    resource: { buffer: device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }) },
  }));
  return device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
}

function submit(
  { device }: Gpu,
  pipeline: GPUComputePipeline,
  group: GPUBindGroup,
  workgroups: number,
  times = 1,
): void {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  for (let i = 0; i < times; i++) pass.dispatchWorkgroups(workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}
