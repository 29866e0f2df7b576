/**
 * Times the kernel templates on the adapter at hand, beside the two sides of the adapter's roofline: a kernel that only reads
 * memory and one that only multiplies and adds. Rounds are interleaved, so that whatever else the machine does meets all
 * alike; the share of the roofline in the same round is the number to compare. `node bench/kernels.ts [part of a name]`
 */
import { emitGroup } from "../compiler/codegen/kernel/contraction/group.ts";
import { SETTINGS_WORDS, emitSample } from "../compiler/codegen/kernel/sample.ts";
import { chooseAttend, chooseContraction } from "../compiler/codegen/kernel/select.ts";
import { tileRowsFor } from "../compiler/codegen/kernel/tuning.ts";
import { type Binding, evaluateSize } from "../compiler/plan/plan.ts";
import type { WeightFormat } from "../compiler/plan/format.ts";
import { type AttendShape, makeAttendCase } from "../tests/support/attend-case.ts";
import { type ContractionShape, makeContractionCase, randomNumbers } from "../tests/support/contraction-case.ts";
import { type Prepared, type TestKernel, type Words, bindingKey, openTestGpu } from "../tests/support/gpu.ts";

const ROUNDS = 15;
const gpu = await openTestGpu();
const buffer = (id: string): Binding => ({ kind: "buffer", id });
const wanted = process.argv[2] ?? "";

interface Timed {
  readonly name: string;
  readonly steps: readonly Prepared[];
  /** Dispatches per submit, enough that waiting for the queue does not count. */
  readonly times: number;
  readonly flops: number;
  readonly bytes: number;
  readonly first: number;
  readonly samples: number[];
}
const all: Timed[] = [];

/** Adds a kernel: several sets of buffers in turn keep weights from staying in a cache. */
async function add(
  name: string,
  kernel: TestKernel,
  data: ReadonlyMap<string, Words>,
  T: number,
  work: { flops: number; bytes: number },
  sets = 1,
): Promise<void> {
  const steps: Prepared[] = [];
  for (let i = 0; i < sets; i++) {
    const buffers = new Map([...data].map(([key, words]) => [key, gpu.upload(words)]));
    steps.push(await gpu.prepare(kernel, buffers, { T, P: T }));
  }
  const start = performance.now();
  await gpu.submit(steps.slice(0, 1));
  const first = performance.now() - start;
  const again = performance.now();
  await gpu.submit(steps);
  const times = Math.max(1, Math.round(40 / (performance.now() - again)));
  all.push({ name, steps, times, ...work, first, samples: [] });
}

async function addContraction(
  name: string,
  regime: "prefill" | "decode",
  shape: ContractionShape,
  sets = 1,
): Promise<void> {
  if (!name.includes(wanted)) return;
  const { spec, data, outputs, index } = makeContractionCase(name, { ...shape, unchecked: true });
  const kernel = chooseContraction(spec, regime, gpu.facts);
  const words = new Map(data);
  for (const o of outputs) words.set(bindingKey(o.binding), new Float32Array(o.length));
  const { routing } = shape;
  if (routing !== undefined && regime === "prefill") {
    const order = [...index.keys()].sort((a, b) => (index[a] as number) - (index[b] as number) || a - b);
    const tiles: number[] = [];
    for (let bank = 0, at = 0; bank < routing.banks; bank++) {
      let left = index.filter((b) => b === bank).length;
      for (; left > 0; left -= routing.tileRows) {
        const count = Math.min(left, routing.tileRows);
        tiles.push(bank, at, count, 0);
        at += count;
      }
    }
    const room = new Uint32Array(
      (Math.ceil(index.length / routing.tileRows) + Math.min(routing.banks, index.length)) * 4,
    );
    room.set(tiles);
    words.set(bindingKey(buffer("order")), Uint32Array.from(order)).set(bindingKey(buffer("tiles")), room);
  }
  const choices = shape.tokens * (routing?.choices ?? 1);
  const columns = shape.groups.reduce((n, g) => n + g.cols * g.matrices, 0);
  const touched = routing === undefined ? 1 : new Set(index).size;
  const bytes =
    touched * shape.k * shape.groups.reduce((n, g) => n + g.cols * g.matrices * (g.storage === "f32" ? 4 : 2), 0);
  await add(name, kernel, words, shape.tokens, { flops: 2 * choices * shape.k * columns, bytes }, sets);
}

async function addAttend(name: string, regime: "prefill" | "decode", shape: AttendShape): Promise<void> {
  if (!name.includes(wanted)) return;
  const { spec, data, output } = makeAttendCase(name, { ...shape, unchecked: true });
  const words = new Map(data).set(bindingKey(output.binding), new Float32Array(output.length));
  const pairs = shape.tokens.reduce((n, t) => n + t.position + 1, 0) * shape.heads;
  const bytes = shape.ring * shape.kvHeads * shape.channels * 8;
  await add(name, chooseAttend(spec, regime, gpu.facts), words, shape.tokens.length, {
    flops: pairs * shape.channels * 4,
    bytes,
  });
}

/** A kernel that reads 64 MB, and one that does little but multiply and add. */
async function addRoofline(): Promise<void> {
  const vectors = 4 << 20;
  const kernel = (
    id: string,
    wgsl: string,
    lanes: number,
    groups: number,
    bindings: readonly Binding[],
  ): TestKernel => ({
    module: { id, wgsl, workgroup: [lanes, 1, 1], bindings: [], features: [] },
    grid: [groups, 1, 1],
    bindings,
    constants: {},
  });
  const read = `
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(32) fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let step = groups.x * 32u;
  var sum = vec4<f32>();
  for (var i = gid.x; i < ${vectors}u; i += step * 4u) { sum += (source[i] + source[i + step]) + (source[i + 2u * step] + source[i + 3u * step]); }
  out[gid.x] = sum;
}`;
  const multiply = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(32) fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let x = vec4<f32>(f32(gid.x)) * 1e-6;
  var a = x; var b = x + 1.0; var c = x + 2.0; var d = x + 3.0;
  for (var i = 0u; i < 4096u; i++) {
    a = fma(a, x, b); b = fma(b, x, c); c = fma(c, x, d); d = fma(d, x, a);
    a = fma(a, x, b); b = fma(b, x, c); c = fma(c, x, d); d = fma(d, x, a);
  }
  out[gid.x] = a + b + c + d;
}`;
  const out = new Float32Array(32 * 4 * 1024);
  const data = new Map<string, Words>([
    [bindingKey(buffer("source")), new Float32Array(vectors * 4).fill(1)],
    [bindingKey(buffer("out")), out],
  ]);
  await add("roofline: read", kernel("read", read, 32, 128, [buffer("source"), buffer("out")]), data, 1, {
    flops: 0,
    bytes: vectors * 16,
  });
  const each = 4096 * 8 * 4 * 2;
  await add("roofline: multiply-add", kernel("multiply", multiply, 32, 64, [buffer("out")]), data, 1, {
    flops: 64 * 32 * each,
    bytes: 0,
  });
}

async function addRouting(choices: number, banks: number): Promise<void> {
  const name = `group ${choices} choices, ${banks} banks`;
  if (!name.includes(wanted)) return;
  const tileRows = tileRowsFor(gpu.facts);
  const ids = { index: buffer("index"), order: buffer("order"), tiles: buffer("tiles") };
  const kernel = emitGroup(
    { id: "group", banks, tileRows, choices: "T", choiceCount: (w) => w.step("T"), ...ids },
    gpu.facts,
  );
  const index = Uint32Array.from(randomNumbers(choices, 1), (x) => Math.floor((x + 1) * 0.5 * banks));
  const tiles = evaluateSize(["*", ["+", ["ceil", "T", tileRows], ["min", banks, "T"]], 4], {
    T: choices,
    Q: 0,
    S: 0,
    P: 0,
  });
  const data = new Map<string, Words>([
    [bindingKey(ids.index), index],
    [bindingKey(ids.order), new Uint32Array(choices)],
    [bindingKey(ids.tiles), new Uint32Array(tiles)],
  ]);
  await add(name, kernel, data, choices, { flops: 0, bytes: choices * 8 });
}

async function addSample(name: string, vocab: number, topK: number, topP: number): Promise<void> {
  if (!name.includes(wanted)) return;
  const kernel = emitSample(vocab, gpu.facts);
  const settings = new Uint32Array(SETTINGS_WORDS);
  new Float32Array(settings.buffer).set([1, 0, topP]);
  settings[1] = topK;
  const data = [randomNumbers(vocab, 1), settings, new Uint32Array(1), new Uint32Array(1)];
  const words = new Map(kernel.bindings.map((b, i) => [bindingKey(b), data[i] as Words]));
  await add(name, { ...kernel, grid: [1, 1, 1], constants: {} }, words, 1, { flops: 0, bytes: vocab * 4 });
}

await addRoofline();
const one = (cols: number, storage: WeightFormat = "f32", matrices = 1) => ({ cols, matrices, storage });
const tileRows = tileRowsFor(gpu.facts);
for (const storage of ["f32", "bf16", "f16"] as const) {
  await addContraction(`product 1024^3 ${storage}`, "prefill", { tokens: 1024, k: 1024, groups: [one(1024, storage)] });
  await addContraction(
    `one row 1024x4096 ${storage}`,
    "decode",
    { tokens: 1, k: 1024, groups: [one(4096, storage)] },
    4,
  );
}
await addContraction("product 1000x1022x1021 f32", "prefill", { tokens: 1000, k: 1022, groups: [one(1021)] });
await addContraction("four rows 1024x4096 f32", "decode", { tokens: 4, k: 1024, groups: [one(4096)] }, 4);
await addContraction("qkv 128x512x(512+128+128)", "prefill", {
  tokens: 128,
  k: 512,
  groups: [one(512), one(128), one(128)],
});
await addContraction(
  "qkv 1x512x(512+128+128)",
  "decode",
  { tokens: 1, k: 512, groups: [one(512), one(128), one(128)] },
  8,
);
const experts = { banks: 16, choices: 4, aPer: "token" as const, tileRows };
await addContraction("experts gate/up 128 tokens", "prefill", {
  tokens: 128,
  k: 512,
  groups: [one(256, "f32", 2)],
  routing: experts,
});
await addContraction("experts down 128 tokens", "prefill", {
  tokens: 128,
  k: 256,
  groups: [one(512)],
  routing: { ...experts, aPer: "choice" },
});
await addContraction(
  "experts gate/up 1 token",
  "decode",
  { tokens: 1, k: 512, groups: [one(256, "f32", 2)], routing: experts },
  4,
);
await addContraction(
  "experts down 1 token",
  "decode",
  { tokens: 1, k: 256, groups: [one(512)], routing: { ...experts, aPer: "choice", combine: true } },
  4,
);
const heads = { heads: 8, kvHeads: 2, channels: 64, ring: 1024 };
for (const length of [128, 512])
  await addAttend(`attention ${length} tokens`, "prefill", {
    ...heads,
    tokens: Array.from({ length }, (_, position) => ({ slot: 0, position })),
  });
await addAttend("attention 1 token after 1023", "decode", { ...heads, tokens: [{ slot: 0, position: 1023 }] });
await addRouting(512, 16);
await addRouting(8192, 64);
await addSample("sample 32000, greedy-like", 32000, 0, 1);
await addSample("sample 32000, top-k", 32000, 40, 1);
await addSample("sample 32000, top-k, top-p", 32000, 40, 0.9);

for (let round = 0; round < ROUNDS; round++)
  for (const t of all) {
    const start = performance.now();
    await gpu.submit(t.steps, t.times);
    t.samples.push((performance.now() - start) / (t.times * t.steps.length));
  }
const sorted = (t: Timed): number[] => [...t.samples].sort((a, b) => a - b);
const rate = (work: number, ms: number): string => (work === 0 ? "" : (work / ms / 1e6).toFixed(1));
console.log(`${gpu.device.adapterInfo.description}; ms per dispatch over ${ROUNDS} rounds`);
console.table(
  all.map((t) => {
    const s = sorted(t);
    const [best, median] = [s[0] as number, s[s.length >> 1] as number];
    return {
      kernel: t.name,
      first: t.first.toFixed(0),
      best: best.toFixed(3),
      median: median.toFixed(3),
      "best GF/s": rate(t.flops, best),
      "median GF/s": rate(t.flops, median),
      "best GB/s": rate(t.bytes, best),
      "median GB/s": rate(t.bytes, median),
    };
  }),
);
gpu.close();
process.exit(0);
