/**
 * A plan written by hand that touches everything a runtime has to do: a model whose hidden value is the sum over a
 * sequence's tokens so far of `embed[id] + position / 4`, passed through two layers `y * scale + 1`, times `head[v]`.
 * Sums of quarters are exact in float32, so results can be compared with `===`.
 */
import type { Binding, DeviceFacts, Dispatch, KernelModule, Plan, Size } from "../../compiler/plan/plan.ts";
import type { ParameterSource } from "../../runtime/gpu/parameters.ts";

export const VOCAB = 12;
export const LAYERS = 2;

export const weights: Readonly<Record<string, Float32Array>> = {
  "embed.w": Float32Array.from({ length: VOCAB }, (_, i) => (i * 5) % 7),
  "blocks[0].scale": Float32Array.of(0.5),
  "blocks[1].scale": Float32Array.of(-0.25),
  "head.w": Float32Array.from({ length: VOCAB }, (_, v) => ((v * 7) % 5) - 2),
};

export const source: ParameterSource = {
  storage: () => "f32",
  read: async (path, start, length) => new Uint8Array(weights[path]!.slice(start, start + length).buffer),
};

/** The model's meaning: logits of each token, row-major. */
export function expectedLogits(ids: readonly number[]): number[] {
  let sum = 0;
  return ids.flatMap((id, position) => {
    sum += weights["embed.w"]![id]! + position / 4;
    const hidden = [0, 1].reduce((y, layer) => y * weights[`blocks[${layer}].scale`]![0]! + 1, sum);
    return Array.from(weights["head.w"]!, (w) => hidden * w);
  });
}

const STEP = "struct Step { T: u32, Q: u32, S: u32, P: u32 }\n@group(0) @binding(0) var<uniform> step: Step;\n";

const MAIN = "@compute @workgroup_size(4)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {\n  let i = id.x;\n";

function kernel(id: string, bindings: readonly ["read" | "write", string, string?][], body: string): KernelModule {
  const declared = bindings.map(
    ([access, name, type = "f32"], i) =>
      `@group(0) @binding(${i + 1}) var<storage, ${access === "read" ? "read" : "read_write"}> ${name}: array<${type}>;\n`,
  );
  const wgsl = `${STEP}${declared.join("")}${MAIN}${body}\n}\n`;
  return { id, wgsl, workgroup: [4, 1, 1], bindings: ["uniform", ...bindings.map(([a]) => a)], features: [] };
}

const modules: readonly KernelModule[] = [
  kernel(
    "remember",
    [
      ["read", "ids", "u32"],
      ["read", "position", "u32"],
      ["read", "slot", "u32"],
      ["read", "embed"],
      ["read", "quarter"],
      ["write", "cache"],
    ],
    "  if (i >= step.T) { return; }\n  cache[slot[i] * step.P + position[i]] = embed[ids[i]] + quarter[position[i]];",
  ),
  kernel(
    "sum",
    [
      ["read", "position", "u32"],
      ["read", "slot", "u32"],
      ["read", "cache"],
      ["write", "hidden"],
    ],
    "  if (i >= step.T) { return; }\n  var sum = 0.0;\n  for (var p = 0u; p <= position[i]; p++) { sum += cache[slot[i] * step.P + p]; }\n  hidden[i] = sum;",
  ),
  kernel(
    "layer",
    [
      ["read", "scale"],
      ["write", "hidden"],
    ],
    "  if (i < step.T) { hidden[i] = hidden[i] * scale[0] + 1.0; }",
  ),
  kernel(
    "head",
    [
      ["read", "hidden"],
      ["read", "wanted", "u32"],
      ["read", "head"],
      ["write", "logits"],
    ],
    `  if (i < step.Q * ${VOCAB}u) { logits[i] = hidden[wanted[i / ${VOCAB}u]] * head[i % ${VOCAB}u]; }`,
  ),
  kernel(
    "nll",
    [
      ["read", "hidden"],
      ["read", "wanted", "u32"],
      ["read", "target_id", "u32"],
      ["read", "head"],
      ["write", "nll"],
    ],
    `  if (i >= step.Q) { return; }
  let h = hidden[wanted[i]];
  var top = -1e30;
  for (var v = 0u; v < ${VOCAB}u; v++) { top = max(top, h * head[v]); }
  var sum = 0.0;
  for (var v = 0u; v < ${VOCAB}u; v++) { sum += exp(h * head[v] - top); }
  nll[i] = top + log(sum) - h * head[target_id[wanted[i]]];`,
  ),
];

const buffer = (id: string): Binding => ({ kind: "buffer", id });
const parameter = (path: string): Binding => ({ kind: "parameter", path, part: 0 });

function dispatch(module: string, items: Size, bindings: readonly Binding[]): Dispatch {
  return {
    kind: "dispatch",
    module,
    bindings: [{ kind: "step" }, ...bindings],
    grid: [["ceil", items, 4], 1, 1],
    constants: {},
    label: module,
    origin: "tiny.moe:1:1",
    flops: ["*", items, 2],
    bytes: ["*", items, 8],
  };
}

function trunk(): Plan["entries"][number]["steps"] {
  const cache: Binding = { kind: "state", id: "cache" };
  return [
    dispatch("remember", "T", [
      buffer("ids"),
      buffer("position"),
      buffer("slot"),
      parameter("embed.w"),
      { kind: "table", id: "quarter" },
      cache,
    ]),
    dispatch("sum", "T", [buffer("position"), buffer("slot"), cache, buffer("hidden")]),
    {
      kind: "repeat",
      indices: [0, 1],
      steps: [dispatch("layer", "T", [parameter("blocks[#].scale"), buffer("hidden")])],
    },
  ];
}

const inputs = ["ids", "position", "slot", "wanted"];

export function tinyPlan(device: DeviceFacts, more: Partial<Plan> = {}): Plan {
  const plain = (path: string): Plan["parameters"][number] => {
    const size = weights[path]!.length;
    const bytes = Math.ceil((size * 4) / 16) * 16;
    return {
      path,
      axes: [{ name: "V", size }],
      storage: "f32",
      layout: { kind: "plain" },
      parts: [{ start: 0, count: size, bytes }],
    };
  };
  const input = (name: string, elements: Size): Plan["buffers"][number] => ({
    id: name,
    role: "input",
    name,
    type: "u32",
    elements,
    store: "f32",
    share: null,
    kept: null,
  });
  const logits = [
    ...trunk(),
    dispatch("head", ["*", "Q", VOCAB], [buffer("hidden"), buffer("wanted"), parameter("head.w"), buffer("logits")]),
  ];
  const nll = [
    ...trunk(),
    dispatch("nll", "Q", [buffer("hidden"), buffer("wanted"), buffer("target"), parameter("head.w"), buffer("nll")]),
  ];
  return {
    format: "moec-plan",
    version: 2,
    model: "Tiny",
    stepTokens: 512,
    symbols: ["T", "Q", "S", "P"],
    scalars: [],
    device,
    parameters: Object.keys(weights).map(plain),
    tables: [{ id: "quarter", axes: [{ name: "P", size: "P" }], expr: ["div", "P", 4] }],
    states: [{ id: "cache", elements: ["*", "S", "P"], store: "f32", bytesPerToken: 4 }],
    buffers: [
      ...[input("ids", "T"), input("position", "T"), input("slot", "T"), input("wanted", "Q"), input("target", "T")],
      {
        id: "hidden",
        role: "temporary",
        name: "hidden",
        type: "f32",
        elements: "T",
        store: "f32",
        share: "a",
        kept: null,
      },
      {
        id: "logits",
        role: "output",
        name: "logits",
        type: "f32",
        elements: ["*", "Q", VOCAB],
        store: "f32",
        share: null,
        kept: null,
      },
      { id: "nll", role: "output", name: "nll", type: "f32", elements: "Q", store: "f32", share: null, kept: null },
    ],
    modules,
    entries: [
      {
        name: "logits.prefill",
        output: "logits",
        regime: "prefill",
        phase: "infer",
        inputs,
        outputs: ["logits"],
        steps: logits,
      },
      {
        name: "logits.decode",
        output: "logits",
        regime: "decode",
        phase: "infer",
        inputs,
        outputs: ["logits"],
        steps: logits,
      },
      {
        name: "nll.prefill",
        output: "nll",
        regime: "prefill",
        phase: "infer",
        inputs: [...inputs, "target"],
        outputs: ["nll"],
        steps: nll,
      },
    ],
    ...more,
  };
}
