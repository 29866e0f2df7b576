/**
 * What a plan may say beyond computing outputs, in one written by hand: gradients kept over micro-batches, parameters that an update
 * writes, numbers of the host, layers from the last to the first over buffers with an index. All numbers are exact in float32.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Buffer, Dispatch, Entry, KernelModule, Plan } from "../../../compiler/plan/plan.ts";
import { verifyPlan } from "../../../compiler/plan/verify.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { Buffers, type StepSizes } from "../../../runtime/gpu/buffers.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { Executor } from "../../../runtime/gpu/execute.ts";
import { type ParameterSource, uploadParameters } from "../../../runtime/gpu/parameters.ts";
import { StagingPool } from "../../../runtime/gpu/readback.ts";
import { softwareFacts } from "../../support/facts.ts";

const SIZE = 4;
const weights: Readonly<Record<string, Float32Array>> = {
  "blocks[0].w": Float32Array.of(1, 2, 3, 4),
  "blocks[1].w": Float32Array.of(8, 4, 2, 1),
};
const source: ParameterSource = {
  storage: () => "f32",
  read: async (path, start, length) => new Uint8Array(weights[path]!.slice(start, start + length).buffer),
};

const MAIN = "@compute @workgroup_size(4)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {\n  let i = id.x;\n";

/** Kernels over the elements of a layer. */
const modules: readonly KernelModule[] = [
  {
    id: "accumulate",
    wgsl: `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
${MAIN}  gradient[i] = gradient[i] + x[i] * w[i];\n}\n`,
    workgroup: [SIZE, 1, 1],
    bindings: ["read", "read", "write"],
    features: [],
  },
  {
    id: "visit",
    wgsl: `@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> visits: array<f32>;
${MAIN}  visits[i] = visits[i] * 10.0 + w[i];\n}\n`,
    workgroup: [SIZE, 1, 1],
    bindings: ["read", "write"],
    features: [],
  },
  {
    id: "descend",
    wgsl: `struct Scalars { rate: f32, decay: f32 }
@group(0) @binding(0) var<uniform> host: Scalars;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
${MAIN}  w[i] = w[i] * host.decay - host.rate * gradient[i];\n}\n`,
    workgroup: [SIZE, 1, 1],
    bindings: ["uniform", "read", "write"],
    features: [],
  },
];

const dispatch = (module: string, bindings: Dispatch["bindings"]): Dispatch => ({
  kind: "dispatch",
  module,
  bindings,
  grid: [1, 1, 1],
  constants: {},
  label: module,
  origin: null,
  flops: SIZE,
  bytes: SIZE * 4,
});
const w = { kind: "parameter", path: "blocks[#].w", part: 0 } as const;
const buffer = (id: string) => ({ kind: "buffer", id }) as const;
const kept = (id: string, reset: "run" | "step", initial: number, of: string | null): Buffer => ({
  id,
  role: "kept",
  name: id,
  type: "f32",
  elements: SIZE,
  share: null,
  kept: { reset, initial, of },
});

const plan: Plan = {
  format: "moec-plan",
  version: 2,
  model: "Trained",
  device: softwareFacts,
  stepTokens: 4,
  symbols: ["T", "Q", "S", "P"],
  scalars: [
    { id: "rate", expr: ["div", "step", ["mul", "steps", 2]] },
    { id: "decay", expr: ["div", "micro", "tokens"] },
  ],
  parameters: Object.keys(weights).map((path) => ({
    path,
    axes: [{ name: "D", size: SIZE }],
    storage: "f32",
    layout: { kind: "plain" },
    parts: [{ start: 0, count: SIZE, bytes: SIZE * 4 }],
  })),
  tables: [],
  states: [],
  buffers: [
    { id: "x", role: "input", name: "x", type: "f32", elements: "T", share: null, kept: null },
    kept("grad.blocks[0].w", "step", 0, "blocks[0].w"),
    kept("grad.blocks[1].w", "step", 0.5, "blocks[1].w"),
    kept("visits", "run", 2, null),
  ],
  modules,
  entries: [
    {
      name: "micro",
      output: "micro",
      regime: "whole",
      phase: "micro",
      inputs: ["x"],
      outputs: [],
      steps: [
        {
          kind: "repeat",
          indices: [1, 0],
          steps: [
            dispatch("accumulate", [buffer("x"), w, buffer("grad.blocks[#].w")]),
            dispatch("visit", [w, buffer("visits")]),
          ],
        },
      ],
    },
    {
      name: "update",
      output: "update",
      regime: "whole",
      phase: "update",
      inputs: [],
      outputs: [],
      steps: [
        {
          kind: "repeat",
          indices: [0, 1],
          steps: [dispatch("descend", [{ kind: "scalars" }, buffer("grad.blocks[#].w"), w])],
        },
      ],
    },
  ],
};

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

test("the plan is sound", () => {
  expect(verifyPlan(plan)).toEqual([]);
});

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
    this.buffers.writeScalars({ step: 1, steps: 2, tokens: 4, micro: 2 });
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
  trained.buffers.writeScalars({ step: 2, steps: 2, tokens: 4, micro: 2 });
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
  [{ step: 1, steps: 0, tokens: 4, micro: 2 }, /`rate` is Infinity in optimizer step 1 of 0/],
  [{ step: 1, steps: 2, tokens: 0, micro: 0 }, /`decay` is NaN in optimizer step 1 of 2/],
  // Finite in float64.
  [{ step: 1, steps: 2, tokens: 1e-39, micro: 1 }, /`decay` is Infinity in optimizer step 1 of 2/],
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

const [micro, update] = plan.entries as [Plan["entries"][number], Plan["entries"][number]];
const [x, first, ...others] = plan.buffers as [Buffer, Buffer, ...Buffer[]];
const [rate] = plan.scalars as [Plan["scalars"][number]];
const step = { kind: "step" } as const;
const w0 = { kind: "parameter", path: "blocks[0].w", part: 0 } as const;
const loose = (phase: Entry["phase"], only: Dispatch): Entry => ({ ...micro, name: "loose", phase, steps: [only] });
/** The plan with something kept that an entry writes. */
const more = (m: Buffer): Partial<Plan> => ({
  buffers: [...plan.buffers, m],
  entries: [micro, update, loose("micro", dispatch("visit", [w0, buffer(m.id)]))],
});
const typed = (type: Buffer["type"], initial: number): Partial<Plan> =>
  more({ ...kept("m", "run", initial, null), type });

test.each<readonly [what: string, wrong: Partial<Plan>, said: RegExp]>([
  ["a size in a symbol that is not declared", { symbols: ["Q"] }, /x has a size in T, which the plan does not declare/],
  ["a symbol twice", { symbols: ["T", "T"] }, /symbol T is listed twice/],
  ["two scalars of one name", { scalars: [rate, { id: "rate", expr: 1 }] }, /scalar rate is listed twice/],
  ["two entries of one name", { entries: [micro, update, { ...micro, steps: [] }] }, /entry micro is listed twice/],
  ["an index in a name", { buffers: [...plan.buffers, { ...x, id: "y[#]" }] }, /buffer y\[#\] has # in its name/],
  [
    "scalars bound as storage",
    { modules: modules.map((m) => (m.id === "descend" ? { ...m, bindings: ["read", "read", "write"] } : m)) },
    /binds .*scalars.* as read/,
  ],
  [
    "a buffer bound as a uniform",
    { modules: modules.map((m) => (m.id === "accumulate" ? { ...m, bindings: ["uniform", "read", "write"] } : m)) },
    /binds .*"x".* as uniform/,
  ],
  [
    "a step without a symbol",
    { symbols: [], entries: [micro, update, loose("infer", dispatch("descend", [step, w0, buffer("visits")]))] },
    /binds .*step.*does not exist/,
  ],
  ["a scalar of what no host knows", { scalars: [{ id: "rate", expr: "loss" }] }, /rate is made of loss/],
  ["scalars that are not there", { scalars: [] }, /binds .*scalars.*does not exist/],
  ["a parameter written while gradients are made", { entries: [micro, { ...update, phase: "micro" }] }, /no update/],
  [
    "a parameter that no update writes",
    { entries: [micro] },
    /blocks\[0\]\.w.* is trained, and updates write it 0 times/,
  ],
  [
    "a parameter written twice",
    { entries: [micro, { ...update, steps: [...update.steps, ...update.steps] }] },
    /write it 2 times/,
  ],
  [
    "two updates",
    { entries: [micro, update, { ...update, name: "again", steps: [] }] },
    /entries update and again are updates, and one ends an optimizer step/,
  ],
  ["kept, and never written", { buffers: [...plan.buffers, kept("m", "run", 0, null)] }, /m is kept, and no entry/],
  [
    "kept of nothing",
    { buffers: [x, kept(first.id, "step", 0, "head.w"), ...others] },
    /of head\.w, which is no param/,
  ],
  ["kept in shared memory", { buffers: [x, { ...first, share: "a" }, ...others] }, /kept, and shares its memory/],
  ["kept for a step's size", { buffers: [x, { ...first, elements: "T" }, ...others] }, /its size is one of a step/],
  [
    "kept, and written by an entry that does not train",
    { entries: [micro, update, loose("infer", dispatch("visit", [w0, buffer("visits")]))] },
    /visits is kept, and loose writes it, which does not train/,
  ],
  ["half of a whole number to begin at", typed("u32", 0.5), /m is u32, and begins at 0\.5/],
  ["a u32 below zero to begin at", typed("u32", -1), /m is u32, and begins at -1/],
  ["an i32 too large to begin at", typed("i32", 2 ** 31), /m is i32, and begins at 2147483648/],
  ["an f32 too large to begin at", typed("f32", 1e39), /m is f32, and begins at 1e\+39/],
  [
    "kept of a parameter, and of another size",
    { buffers: [x, { ...first, elements: SIZE - 1 }, ...others] },
    /grad\.blocks\[0\]\.w has 3 elements, which is no size of blocks\[0\]\.w/,
  ],
  [
    "an update of a parameter of which nothing is kept",
    { buffers: [x, { ...first, kept: { ...first.kept!, of: null } }, ...others] },
    /parameter blocks\[0\]\.w is written by an update, and nothing is kept of it/,
  ],
  [
    "an update of a parameter of 16 bits",
    { parameters: plan.parameters.map((p) => ({ ...p, storage: "bf16" })) },
    /parameter blocks\[0\]\.w is written by an update, and stored as bf16/,
  ],
  ["kept without saying how", { buffers: [x, { ...first, kept: null }, ...others] }, /has the role kept, and nothing/],
  [
    "an index outside of a repeat",
    { entries: [micro, update, loose("micro", dispatch("visit", [w, buffer("visits")]))] },
    /binds .*blocks\[#\].*does not exist/,
  ],
])("a plan is refused with %s", (_, wrong, said) => {
  expect(verifyPlan({ ...plan, ...wrong }).join("\n")).toMatch(said);
});

test("what is kept of a parameter is as large as it lies in f32, or has a number for each index of some of its axes", () => {
  const path = "experts.w";
  const experts: Plan["parameters"][number] = {
    path,
    axes: [
      { name: "N", size: 2 },
      { name: "D", size: 6 },
      { name: "F", size: 5 },
    ],
    storage: "f32",
    layout: { kind: "matrix", bank: ["N"], k: ["D"], n: ["F"], split: "bank" },
    parts: [0, 1].map((start) => ({ start, count: 1, bytes: 8 * 8 * 4 })),
  };
  const said = (elements: number): readonly string[] => {
    const m = { ...kept("m", "run", 0, path), elements };
    return verifyPlan({ ...plan, ...more(m), parameters: [...plan.parameters, experts] }).filter((text) =>
      text.includes("no size of"),
    );
  };
  // With D and F rounded up to 8; without; of a part; of one expert, row, column; one number in all.
  for (const elements of [2 * 8 * 8, 2 * 6 * 5, 8 * 8, 2, 6, 5, 2 * 6, 2 * 5, 6 * 5, 1])
    expect(said(elements)).toEqual([]);
  for (const elements of [0, 3, 59, 2 * 6 * 5 * 2, 36]) expect(said(elements)).toHaveLength(1);
});
