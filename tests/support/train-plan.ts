/**
 * A plan that trains, written by hand: gradients kept over micro-batches, parameters that an update writes, numbers of the host, layers from
 * the last to the first over buffers with an index. All numbers are exact in float32.
 */
import type { Buffer, Dispatch, KernelModule, Plan } from "../../compiler/plan/plan.ts";
import type { ParameterSource } from "../../runtime/gpu/parameters.ts";
import { softwareFacts } from "./facts.ts";

export const SIZE = 4;
const weights: Readonly<Record<string, Float32Array>> = {
  "blocks[0].w": Float32Array.of(1, 2, 3, 4),
  "blocks[1].w": Float32Array.of(8, 4, 2, 1),
};
export const source: ParameterSource = {
  storage: () => "f32",
  read: async (path, start, length) => new Uint8Array(weights[path]!.slice(start, start + length).buffer),
};

const MAIN = "@compute @workgroup_size(4)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {\n  let i = id.x;\n";

/** Kernels over the elements of a layer. */
export const modules: readonly KernelModule[] = [
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

export const dispatch = (module: string, bindings: Dispatch["bindings"]): Dispatch => ({
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
export const w = { kind: "parameter", path: "blocks[#].w", part: 0 } as const;
export const buffer = (id: string) => ({ kind: "buffer", id }) as const;
export const kept = (id: string, reset: "run" | "step", initial: number, of: string | null): Buffer => ({
  id,
  role: "kept",
  name: id,
  type: "f32",
  elements: SIZE,
  store: "f32",
  share: null,
  kept: { reset, initial, of },
});

export const trainPlan: Plan = {
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
    { id: "x", role: "input", name: "x", type: "f32", elements: "T", store: "f32", share: null, kept: null },
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
