/**
 * Layers that mix tokens, each in a small model, against the oracle: batches of sequences of different lengths, inputs longer than a
 * step, prefill in pieces and decoding, with every kind of kernel. States hold what came before, rings no more than windows need.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountModel } from "../compiler/index.ts";
import type { DeviceFacts } from "../compiler/plan/plan.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { likeGpu } from "./support/facts.ts";
import { modelOf } from "./support/programs.ts";
import { Draw, modelOfConfig } from "./support/random-models.ts";
import { checkDecode, checkForward, checkScores, expectClose, withRandomSession } from "./support/session-checks.ts";

const ranges = { lambda: [-0.6, 0.5], step: [-1, 0.5] } as const;
const stepTokens = 16;

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const mixers: Readonly<Record<string, string>> = {
  "short convolution": "ShortConv(D)",
  "delta rule": "DeltaNet(D, 2, 6, 5)",
  "delta rule with rates up to 2": "DeltaNet(D, 3, 4, 8, W: 2, negative: true)",
  "state space": "StateSpace(D, 5)",
  "bilinear state space, kept stable": "StateSpace(D, 9, bilinear: true, stable: true)",
  "queues of experts": "MoE(D, 6, 4, Limited(R: TopK(K: 2), capacity: 7))",
  "sliding window": "Attention(D, 2, 2, 4, window: 5)",
  "latents for all heads": "LatentAttention(D, 3, 8, 4, 4, 5)",
  "latents of an odd width, queries too": "LatentAttention(D, 2, 7, 3, 2, 6, Q: 5)",
  "chunks of the sequence": "Attention(D, 2, 1, 4, chunk: 6)",
};

interface Variant {
  readonly name: string;
  /** Of these alone: kernels for GPUs take a software adapter long to compile. */
  readonly only?: readonly string[];
  readonly facts?: Partial<DeviceFacts>;
  readonly force?: { readonly delta: string };
}

const variants: readonly Variant[] = [
  { name: "as the device is" },
  { name: "kernels for GPUs", facts: likeGpu, only: ["state space", "sliding window"] },
  {
    name: "few storage buffers",
    facts: { maxStorageBuffers: 7 },
    only: ["state space", "latents for all heads", "delta rule"],
  },
  { name: "token by token", force: { delta: "delta-recurrent" }, only: ["delta rule"] },
];

const sourceOf = (mixer: string): string => `
import { Attention, DeltaNet, Embedding, LatentAttention, Limited, Linear, MixtureOfDepths, MoE, ExpertChoice, RMSNorm, Sequential, ShortConv, SoftMoE, StateSpace, SwiGLU, TopK } from "std"
/// As an encoder has it: every token sees all others.
layer Both(D, G, R, C, window = none, chunk = none, softcap = none) {
  q = Linear(D -> [G, R, C])
  k = Linear(D -> [G, C])
  v = Linear(D -> [G, C])
  o = Linear([G, R, C] -> D)
  forward(x: [T, D]) -> [T, D] =
    o(attend[C](q(x), k(x), v(x), causal: false, window: window, chunk: chunk, softcap: softcap))
}
/// The first P tokens see each other, later ones what came before.
layer Prefixed(D, H, C, P = 7) {
  q = Linear(D -> [H, C])
  k = Linear(D -> [H, C])
  v = Linear(D -> [H, C])
  o = Linear([H, C] -> D)
  forward(x: [T, D]) -> [T, D] {
    first = position() < P
    both = within(first, attend[C](q(x), k(x), v(x), causal: false))
    return o(select(first, both, attend[C](q(x), k(x), v(x))))
  }
}
layer Block(D) {
  norm = RMSNorm(D)
  mix  = ${mixer}
  forward(x: [T, D]) -> [T, D] = x + mix(norm(x))
}
model Mixing(V, L, D) {
  embed  = Embedding(V -> D)
  blocks = L of Block(D)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(x))
  }
}
config tiny: Mixing { V: 31  L: 1  D: 10 }`;

function withMixer(
  mixer: string,
  { facts = {}, force }: Variant,
  use: Parameters<typeof withRandomSession>[3],
  purpose: "generate" | "evaluate" = "generate",
): Promise<void> {
  const more = force === undefined ? {} : { force };
  const options = { draw: new Draw(mixer.length), ranges, facts, stepTokens, purpose, capacity: 320, ...more };
  return withRandomSession(device, modelOf(sourceOf(mixer)), options, use);
}

const cases = Object.keys(mixers).flatMap((name) =>
  variants
    .filter((v) => v.only?.includes(name) ?? true)
    .map((variant) => ({ name, variant, title: `${name}, ${variant.name}` })),
);

test.each(cases)("$title", async ({ name, variant }) => {
  await withMixer(mixers[name]!, variant, async (session, weights, ids) => {
    await checkForward(session, weights.runOracle, [ids(33), ids(1), ids(70)], name);
    await checkDecode(session, weights.runOracle, ids(40), ids(12), name);
  });
});

test("a window keeps its width and a step, whatever the context", async () => {
  await withMixer(mixers["sliding window"]!, variants[0]!, async (session, _weights, ids) => {
    await session.prefill(0, ids(300));
    const { states } = session.memory;
    // Keys and values of two heads of four channels, three sequences.
    expect(states).toBe(2 * 3 * (5 + stepTokens) * 8 * 4);
  });
});

test("latents are kept once, as keys and values of all heads", async () => {
  await withMixer(mixers["latents for all heads"]!, variants[0]!, async (session, _weights, ids) => {
    await session.prefill(0, ids(20));
    const bytes = 4 * (8 + 4);
    expect(session.memory.states).toBe(3 * 256 * bytes);
  });
});

describe("what looks at later tokens evaluates, a whole sequence to a step, and does not generate", () => {
  const encoders = [
    "Both(D, 2, 1, 4)",
    "Both(D, 2, 1, 4, window: 5)",
    "Both(D, 1, 2, 6, chunk: 8, softcap: 2.0)",
    "Prefixed(D, 2, 3)",
  ];
  test.each([
    "MoE(D, 6, 4, ExpertChoice(capacity: 1.5))",
    "SoftMoE(D, 6, 3, 2)",
    "Sequential(D, A: Attention(G: 2, R: 1, C: 4, window: 5), M: SoftMoE(F: 6, N: 3, P: 2))",
    ...encoders,
  ])("%s", async (mixer) => {
    await expect(withMixer(mixer, variants[0]!, async () => {})).rejects.toThrow("positions that do not exist yet");
    const kinds = encoders.indexOf(mixer) > 1 ? [{}, likeGpu] : [{}];
    for (const facts of kinds)
      await withMixer(
        mixer,
        { name: mixer, facts },
        async (session, weights, ids) => {
          await checkForward(session, weights.runOracle, [ids(21), ids(1), ids(40)], mixer);
          await checkScores(session, weights.runOracle, [ids(19), ids(33)]);
        },
        "evaluate",
      );
  });
});

test("a mixture of depths evaluates as it was trained and generates by its guess", async () => {
  const mixer =
    "MixtureOfDepths(D, Sequential(A: Attention(G: 2, R: 1, C: 4), M: MoE(F: 6, N: 3, R: TopK(K: 2))), share: 0.4)";
  await withMixer(mixer, variants[0]!, async (session, weights, ids) => {
    await checkForward(session, weights.runOracle, [ids(21), ids(1), ids(40)], mixer);
    await checkDecode(session, (x) => weights.runOracle(x, "generate"), ids(40), ids(12), mixer);
  });
});

test("neighbours of chunks are each sequence's own, in batches, pieces and single tokens", async () => {
  const model = modelOf(`
import { ChunkedCrossAttention, Embedding, Linear } from "std"
layer Block(D, E, M, U, J) {
  mix = ChunkedCrossAttention(D, 2, 1, 4, E, M, U, J)
  forward(x: [T, D], near: [U, J, E]) -> [T, D] = x + mix(x, near)
}
model Retrieving(V, L, D, E, M, U, J) {
  embed  = Embedding(V -> D)
  blocks = L of Block(D, E, M, U, J)
  head   = Linear(D -> V)
  forward(ids: u32[T], near: [U, J, E]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x, near) }
    return f32(head(x))
  }
}
config tiny: Retrieving { V: 31  L: 1  D: 10  E: 6  M: 4  U: 5  J: 3 }`);
  const draw = new Draw(7);
  await withRandomSession(device, model, { draw, stepTokens }, async (session, weights, ids) => {
    const near = [0, 1].map(() => Float32Array.from({ length: 5 * 3 * 6 }, () => draw.next() - 0.5));
    const axes = Object.entries({ U: 5, J: 3, E: 6 }).map(([name, size]) => ({ name, size }));
    const oracle = (i: number) => (x: readonly number[]) =>
      weights.runOracle(x, "evaluate", { near: { axes, data: Float64Array.from(near[i]!) } });
    const batch = [ids(19), ids(22)];
    const found = await session.forward(
      batch,
      near.map((n) => ({ near: n })),
    );
    batch.forEach((x, i) => expectClose(found[i]!, oracle(i)(x), "near"));
    session.perSequence(2, "near", near[1]!);
    session.perSequence(0, "near", near[0]!);
    await checkDecode(session, oracle(1), ids(20), ids(12), "near", oracle(0));
    expect(() => session.perSequence(0, "near", [1])).toThrow("90 elements");
    expect(() => session.perSequence(0, "far", [1])).toThrow("no input `far`");
  });
});

test.each([
  ["every layer a memory", {}],
  [
    "a window in every other layer",
    { attn: { layers: [1], num_heads: 2, num_kv_heads: 1, window_size: 6, qkv_bias: true } },
  ],
])("the family of flash-linear-attention: %s", async (_title, more) => {
  const model = modelOfConfig({
    model_type: "delta_net",
    vocab_size: 31,
    num_hidden_layers: 2,
    hidden_size: 12,
    num_heads: 2,
    hidden_ratio: 4,
    expand_k: 0.5,
    intermediate_size: 10,
    ...more,
  });
  await withRandomSession(device, model, { draw: new Draw(3), stepTokens }, async (session, { runOracle }, ids) => {
    await checkForward(session, runOracle, [ids(33), ids(2)], "delta_net");
    await checkDecode(session, runOracle, ids(25), ids(12), "delta_net");
  });
});

test("what a sequence keeps is told: states whatever its length, keys and values within the window", () => {
  const model = modelOf(`import { DeltaNetLM } from "std"
config it: DeltaNetLM { V: 32  L: 4  D: 16  F: 8  H: 2  C: 8  E: 6  layers: [1]  window: 10  G: 1  R: 2  A: 8 }`);
  const keptAt = (context: number): number => accountModel(model, () => 4, context).cost.kept;
  const [memory, taps, window] = [2 * 8 * 6, 3 * (16 + 16 + 12), 2 * 8];
  expect(keptAt(4)).toBe(4 * (3 * (memory + taps) + 4 * window));
  expect(keptAt(1000)).toBe(4 * (3 * (memory + taps) + 10 * window));
});
