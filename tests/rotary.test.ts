/**
 * Every scaling of rotary positions against its published formula, from the keys of a config.json to the oracle and to a
 * device: below and over the lengths that it knows, fed whole, in pieces, and token by token.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram, compileModel, makeModel, readConfig, type Json, type Model } from "../compiler/index.ts";
import { isOp } from "../compiler/graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../compiler/graph/traverse.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { parseConfig } from "../runtime/model/config-file.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { openSession, type Session } from "../runtime/session/session.ts";
import { maxDifference } from "./support/close.ts";
import { findItem, openRight } from "./support/programs.ts";
import { modelOfConfig } from "./support/random-models.ts";
import { heat, rotate, rotationOf, type RopeParameters } from "./support/rotary-formulas.ts";

const CHANNELS = 16;
const LIMIT = 24;
const THETA = 500;

const counted = (from: number, step: number) => Array.from({ length: CHANNELS / 2 }, (_, i) => from + step * i);
const longrope = {
  rope_type: "longrope",
  original_max_position_embeddings: 8,
  long_factor: counted(1, 2),
  short_factor: counted(1, 0.25),
};
const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64, beta_fast: 3, beta_slow: 1 };

const cases: Readonly<Record<string, RopeParameters>> = {
  default: { rope_type: "default" },
  linear: { rope_type: "linear", factor: 2.5 },
  llama3: {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 32,
  },
  yarn,
  "yarn, nothing said of its ramp": { rope_type: "yarn", factor: 32 },
  "yarn, no truncation": { ...yarn, truncate: false },
  "yarn, a gain of its own": { ...yarn, attention_factor: 0.75 },
  "yarn, two scales": { ...yarn, mscale: 0.707, mscale_all_dim: 0.5 },
  "yarn, one scale": { ...yarn, mscale: 0.707, mscale_all_dim: 0 },
  "yarn, a ramp of no width": { ...yarn, beta_fast: 1, beta_slow: 1, truncate: false },
  dynamic: { rope_type: "dynamic", factor: 2 },
  longrope,
  "longrope, by its first name": { ...longrope, rope_type: "su" },
  "longrope, a gain of its own": { ...longrope, attention_factor: 1.5 },
  "longrope, a factor": { ...longrope, factor: 3 },
  "longrope, gains by length": { ...longrope, long_mscale: 1.25, short_mscale: 0.75 },
};

/** Shows what a rotation does to known vectors: "logits" are the embeddings, turned. */
const probe = `
import { Embedding, Rotary, rope_scaling } from "std"

model Probe(C, theta = 10000.0, pairs = "half", rotary: layer = Rotary, context = 2048) {
  embed = Embedding(C -> C)
  turn  = rotary(C, theta: theta, pairs: pairs, limit: context)
  forward(ids: u32[T]) -> f32[T, C] = turn(embed(ids))
}

map probe: Probe {
  config {
    "probe" <-> model_type
    C       <-> hidden_size
    theta   <-> rope_theta
    pairs   <-> pairs = "half"
    rotary  <-> map rope_scaling
    context <-> max_position_embeddings
  }
  embed.w <-> "embed.weight"
}
`;

const scope = openRight(probe);

function probeOf(scaling: RopeParameters, more: Readonly<Record<string, Json>> = {}): Model {
  const json = { model_type: "probe", hidden_size: CHANNELS, rope_theta: THETA, max_position_embeddings: LIMIT };
  const text = JSON.stringify({ ...json, ...more, rope_parameters: scaling as unknown as Json });
  const map = { item: findItem(scope, "map"), scope };
  return makeModel(readConfig(map, parseConfig("config.json", text)), map.item.span);
}

const weights = Float32Array.from({ length: CHANNELS * CHANNELS }, (_, i) => Math.sin(1 + i));
const idsOf = (length: number): number[] => Array.from({ length }, (_, i) => (5 * i + 3) % CHANNELS);
const row = (id: number): number[] => [...weights.subarray(id * CHANNELS, (id + 1) * CHANNELS)];

/** Every token's vector, turned. */
function formula(scaling: RopeParameters, length: number, channels = CHANNELS, interleaved = false): number[] {
  const by = rotationOf(scaling, { channels, theta: THETA, limit: LIMIT, length });
  return idsOf(length).flatMap((id, position) => rotate(row(id), position, by, interleaved));
}

function oracle(model: Model, length: number): Float64Array {
  const axes = (name: string) => ({ name, size: CHANNELS });
  return evaluateProgram(buildProgram(model.instance), {
    inputs: { ids: { axes: [{ name: "T", size: length }], data: Float64Array.from(idsOf(length)) } },
    params: () => ({ axes: model.parameters[0]!.axes.map((a) => axes(a.name)), data: Float64Array.from(weights) }),
    sizes: { T: length },
  })["logits"]!.data;
}

describe("the oracle gives the published formula", () => {
  // One token; below, at and over the first training's length; at and over the model's limit.
  const lengths = [1, 7, 8, 9, LIMIT, LIMIT + 1, 61];
  test.each(Object.entries(cases))("%s", (_, scaling) => {
    for (const length of lengths)
      expect(maxDifference(oracle(probeOf(scaling), length), formula(scaling, length))).toBeLessThan(1e-12);
  });

  test("on a share of the channels, and on neighbouring pairs", () => {
    const scaling = { ...yarn, original_max_position_embeddings: 300 };
    const part = oracle(probeOf(scaling, { partial_rotary_factor: 0.5 }), 40);
    expect(maxDifference(part, formula(scaling, 40, CHANNELS / 2))).toBeLessThan(1e-12);
    const pairs = oracle(probeOf(scaling, { pairs: "interleaved" }), 40);
    expect(maxDifference(pairs, formula(scaling, 40, CHANNELS, true))).toBeLessThan(1e-12);
  });
});

describe("on a device", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice();
  });
  afterAll(() => device.close());

  const sessionOf = (scaling: RopeParameters): Promise<Session> => {
    const bytes = new Uint8Array(weights.buffer);
    const read = async (_: string, start: number, length: number) => bytes.slice(4 * start, 4 * (start + length));
    const plan = compileModel(probeOf(scaling), { device: device.facts, storage: () => "f32", verify: true });
    const source = { storage: () => "f32" as const, read };
    return openSession({ plan, device, source, sequences: 2, capacity: 64, stepTokens: 16 });
  };

  test.each(Object.entries(cases).filter(([name]) => !name.startsWith("yarn,")))("%s", async (_, scaling) => {
    const session = await sessionOf(scaling);
    try {
      for (const length of [8, 61]) {
        const wanted = Float64Array.from(formula(scaling, length));
        const ids = idsOf(length);
        const [whole] = await session.forward([ids]);
        expect(maxDifference(whole!, wanted)).toBeLessThan(1e-5);
        // In pieces and steps: the length is declared at the start.
        const last = (found: number) => wanted.subarray((found - 1) * CHANNELS, found * CHANNELS);
        await session.prefill(1, ids.slice(0, 3), { length });
        expect(maxDifference(session.logits(1), last(3))).toBeLessThan(1e-5);
        await session.prefill(1, ids.slice(3, length - 2));
        expect(maxDifference(session.logits(1), last(length - 2))).toBeLessThan(1e-5);
        for (const at of [length - 2, length - 1]) {
          await session.step([{ slot: 1, id: ids[at]! }]);
          expect(maxDifference(session.logits(1), last(at + 1))).toBeLessThan(1e-5);
        }
        session.reset(1);
      }
    } finally {
      session.close();
    }
  });

  test("without a declared length a sequence is as long as what its slot holds", async () => {
    const session = await sessionOf(longrope);
    try {
      const ids = idsOf(10);
      await session.prefill(0, ids.slice(0, 8));
      expect(maxDifference(session.logits(0), formula(longrope, 8).slice(-CHANNELS))).toBeLessThan(1e-5);
      await session.step([{ slot: 0, id: ids[8]! }]);
      expect(maxDifference(session.logits(0), formula(longrope, 9).slice(-CHANNELS))).toBeLessThan(1e-5);
    } finally {
      session.close();
    }
  });

  test("generation declares the prompt and the tokens that it may add", async () => {
    const session = await sessionOf(longrope);
    try {
      for (const maxTokens of [2, 6]) {
        const prompt = idsOf(5);
        const by = rotationOf(longrope, { channels: CHANNELS, theta: THETA, limit: LIMIT, length: 5 + maxTokens });
        const wanted = [...prompt];
        while (wanted.length < 5 + maxTokens) {
          const turned = rotate(row(wanted.at(-1)!), wanted.length - 1, by);
          wanted.push(turned.indexOf(Math.max(...turned)));
        }
        const found = [...prompt];
        for await (const { token } of session.generate({ prompts: [prompt], maxTokens })) found.push(token);
        expect(found).toEqual(wanted);
      }
    } finally {
      session.close();
    }
  });

  test("only what depends on the declared length is computed by a shader", () => {
    const wgsl = (scaling: RopeParameters): string =>
      compileModel(probeOf(scaling), { device: device.facts, storage: () => "f32" })
        .modules.map((m) => m.wgsl)
        .join("\n");
    for (const [name, scaling] of Object.entries(cases))
      expect({ name, found: /\b(cos|pow)\(/.test(wgsl(scaling)) }).toEqual({ name, found: name === "dynamic" });
  });
});

describe("families", () => {
  const latent = {
    model_type: "deepseek_v3",
    vocab_size: 16,
    num_hidden_layers: 1,
    hidden_size: 8,
    moe_intermediate_size: 4,
    intermediate_size: 8,
    num_attention_heads: 2,
    kv_lora_rank: 4,
    q_lora_rank: null,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 4,
    v_head_dim: 4,
    n_routed_experts: 2,
    num_experts_per_tok: 1,
    first_k_dense_replace: 1,
  };
  const scaleOf = (config: Readonly<Record<string, Json>>): number => {
    const program = buildProgram(modelOfConfig(config).instance);
    const attend = allFunctions(program)
      .flatMap((fn) => topologicalOrder(outputNodes(fn)))
      .find((node) => isOp(node, "attend"))!;
    return (attend.attrs as { readonly scale: number }).scale;
  };

  test("latent attention sharpens its scores by the square of YaRN's scale", () => {
    const scaling = {
      type: "yarn",
      factor: 40,
      original_max_position_embeddings: 4096,
      mscale: 1.0,
      mscale_all_dim: 1.0,
    };
    expect(scaleOf(latent)).toBeCloseTo(10 ** -0.5, 12);
    expect(scaleOf({ ...latent, rope_scaling: scaling })).toBeCloseTo(10 ** -0.5 * heat(40, 1) ** 2, 12);
    const { mscale_all_dim: _, ...silent } = scaling;
    expect(scaleOf({ ...latent, rope_scaling: silent })).toBeCloseTo(10 ** -0.5, 12);
  });

  test("the gain of gpt-oss is the one its reference computes", () => {
    const published = { rope_type: "yarn", factor: 32, beta_fast: 32, beta_slow: 1, truncate: false };
    const shape = { channels: 64, theta: 150000, limit: 131072, length: 1 };
    expect(rotationOf({ ...published, original_max_position_embeddings: 4096 }, shape).gain).toBeCloseTo(1.3466, 4);
  });
});
