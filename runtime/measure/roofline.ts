/**
 * What a device can reach at most, measured: f32 multiply-adds from registers, and reading memory in a stream. Kernels are
 * judged as shares of these, because no adapter tells its peaks and a busy machine does not reach its own.
 */
import type { KernelModule } from "../../compiler/plan/plan.ts";
import { checkOption, needed, object } from "../../grammar/option.ts";
import type { Device } from "../gpu/device.ts";
import { BufferUsage } from "../gpu/flags.ts";
import { Pipelines } from "../gpu/pipelines.ts";

/** Per second: floating-point operations, and bytes read. */
export interface Roofline {
  readonly flops: number;
  readonly bytes: number;
}

const measured = new WeakMap<Device, Promise<Roofline>>();

/** Measures once per device, in about a second on a software adapter. */
export async function measureRoofline(device: Device): Promise<Roofline> {
  checkOption("measureRoofline", "device", device, needed(object("a device, of `openDevice`", "gpu", "facts")));
  const known = measured.get(device) ?? measure(device);
  measured.set(device, known);
  return known;
}

const WIDTH = 64;
/**
 * Chains of dependent multiply-adds per invocation, and how many of each a round does. Few variables and long rounds: a
 * software adapter writes what a loop carries back to the stack in every round. GPUs hide latency by occupancy.
 */
const CHAINS = 2;
const UNROLLED = 16;
const ROUNDS = 128;

const multiplyAdd: KernelModule = {
  id: "roofline.flops",
  workgroup: [WIDTH, 1, 1],
  bindings: ["write"],
  features: [],
  wgsl: `@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(${WIDTH})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(f32(id.x)) * 1e-9 + 0.5;
${list(CHAINS, (i) => `  var a${i} = x * ${i}.0;`)}
  for (var r = 0u; r < ${ROUNDS}u; r++) {
${list(UNROLLED, () => list(CHAINS, (i) => `    a${i} = fma(a${i}, x, x);`))}
  }
  out[id.x % ${WIDTH}u] = ${Array.from({ length: CHAINS }, (_, i) => `a${i}`).join(" + ")};
}
`,
};

/** Every invocation reads `READS` vectors, neighbours next to each other. */
const READS = 16;

const stream: KernelModule = {
  id: "roofline.bytes",
  workgroup: [WIDTH, 1, 1],
  bindings: ["read", "write"],
  features: [],
  wgsl: `@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(${WIDTH})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let stride = groups.x * ${WIDTH}u;
  var sum = vec4<f32>();
${list(READS, (i) => `  sum += source[id.x + ${i}u * stride];`)}
  out[id.x % ${WIDTH}u] = sum;
}
`,
};

async function measure(device: Device): Promise<Roofline> {
  const { manyCores, maxBinding } = device.facts;
  const bytes = Math.min(maxBinding, manyCores ? 512 << 20 : 64 << 20);
  const readGroups = Math.floor(bytes / (16 * READS * WIDTH));
  const mathGroups = manyCores ? 16384 : 256;
  const { gpu } = device;
  const out = gpu.createBuffer({ label: "roofline", size: WIDTH * 16, usage: BufferUsage.STORAGE });
  const source = await device.guard(`a probe of ${bytes} bytes`, () =>
    gpu.createBuffer({ label: "roofline source", size: bytes, usage: BufferUsage.STORAGE }),
  );
  try {
    const flops =
      (mathGroups * WIDTH * ROUNDS * UNROLLED * CHAINS * 8) / (await time(device, multiplyAdd, [out], mathGroups));
    const read = (readGroups * WIDTH * READS * 16) / (await time(device, stream, [source, out], readGroups));
    return { flops, bytes: read };
  } finally {
    out.destroy();
    source.destroy();
  }
}

/** Seconds of one run: the best of several, since anything else on the machine only adds. */
async function time(
  device: Device,
  module: KernelModule,
  buffers: readonly GPUBuffer[],
  groups: number,
): Promise<number> {
  const { gpu } = device;
  const [pipeline] = await Pipelines.of(device).make([{ module, constants: {}, label: module.id, origin: null }]);
  const group = gpu.createBindGroup({
    layout: pipeline!.groupLayout,
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const run = async (times: number): Promise<number> => {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline!.handle);
    pass.setBindGroup(0, group);
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(Math.min(groups, device.facts.maxWorkgroups));
    pass.end();
    const start = performance.now();
    gpu.queue.submit([encoder.finish()]);
    await device.wait(gpu.queue.onSubmittedWorkDone());
    return (performance.now() - start) / 1000;
  };
  await run(1);
  // Differences cancel what a submit and its wait cost.
  const samples: number[] = [];
  for (let i = 0; i < 5; i++) {
    const one = await run(1);
    samples.push(((await run(5)) - one) / 4);
  }
  const positive = samples.filter((s) => s > 0);
  device.check();
  return positive.length === 0 ? await run(1) : Math.min(...positive);
}

function list(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n");
}
