/**
 * ONNX Runtime: its WebGPU provider (its own Dawn, the same adapter) and its CPU provider as the anchor. Two things to know
 * when reading its numbers: `MoE` in float has no WebGPU kernel and runs on the CPU even under `webgpu`, so there the experts
 * are `QMoE` in 4 bits; and its WebGPU prefill attention is wrong on adapters with subgroups of 8, so its prefill is a
 * cost and not a result. Operators are measured as the difference between a long and a short chain: no upload, no read back.
 */
import { type Engine, type Measurement, type TaskName, measurement, timeCalls } from "./engine.ts";
import { decodeLength, makePrompt, moeShape as shape, promptLength } from "./moe-shape.ts";
import { type MoeFormat, makeMatmulChain, makeMoe } from "./onnx-model.ts";
import { RandomWeights } from "./random.ts";
import type { InferenceSession, Values } from "onnxruntime-node";

type Provider = "webgpu" | "cpu";

const allQ4: MoeFormat = { experts: "q4", dense: "q4" };

export const engines: readonly Engine[] = [
  makeEngine("webgpu", allQ4),
  makeEngine("webgpu", { experts: "q4", dense: "f32" }),
  makeEngine("cpu", { experts: "f32", dense: "f32" }),
];

function makeEngine(provider: Provider, format: MoeFormat): Engine {
  const weights = {
    "f32/f32": "f32",
    "q4/q4": "4-bit experts, 4-bit dense",
    "q4/f32": "4-bit experts, f32 dense",
    "f32/q4": "f32 experts, 4-bit dense",
  };
  const name = `onnxruntime ${provider} (${weights[`${format.experts}/${format.dense}`]})`;
  // Operators are the same whatever the format of the mixture, so one engine of each provider measures them.
  const isFirst = provider === "cpu" || format === allQ4;
  const own: readonly TaskName[] = isFirst ? ["matmul", "matvec", "prefill", "decode"] : ["prefill", "decode"];
  let chains: Readonly<Record<"matmul" | "matvec", Chains>> | null = null;
  let decoder: Decoder | null = null;
  return {
    name,
    runsOn: provider === "cpu" ? "cpu" : "gpu",
    tasks: own,
    async prepare() {
      if (isFirst) {
        const wide = [1024, 4096];
        chains = {
          matmul: await openChains(provider, 1024, [1024], 1, 5),
          matvec: await openChains(provider, 1, wide, 1, 4),
        };
      }
      decoder = await openDecoder(provider, format);
      await decoder.generate(2);
    },
    async measure(task): Promise<Measurement> {
      if (task === "prefill" && decoder) return measurement(task, promptLength / (await decoder.prefill()));
      if (task === "decode" && decoder) return measurement(task, decodeLength / (await decoder.generate(decodeLength)));
      if (task === "matmul" && chains)
        return measurement(task, (2 * 1024 ** 3) / (await timeOne(chains.matmul, 3)) / 1e9);
      if (task === "matvec" && chains)
        return measurement(task, (1024 * 4096 * 4) / (await timeOne(chains.matvec, 15)) / 1e9);
      throw new Error(`${name} does not measure ${task}`);
    },
  };
}

/** Two sessions over the same product, one chained longer than the other. */
interface Chains {
  readonly short: InferenceSession;
  readonly long: InferenceSession;
  readonly feeds: Values;
  /** Products that the longer has more. */
  readonly more: number;
}

/** `widths` is the cycle of widths that the chain goes round, `short` and `long` how often. */
async function openChains(
  provider: Provider,
  rows: number,
  widths: readonly number[],
  short: number,
  long: number,
): Promise<Chains> {
  const { InferenceSession, Tensor } = await import("onnxruntime-node");
  const first = widths[0] ?? 0;
  const open = (times: number) => {
    const chain = [...Array.from({ length: times }, () => widths).flat(), first];
    return InferenceSession.create(makeMatmulChain(rows, chain), options(provider));
  };
  const x = new Tensor("float32", new RandomWeights().floats(rows * first, 1), [rows, first]);
  const chains = {
    short: await open(short),
    long: await open(long),
    feeds: { x },
    more: (long - short) * widths.length,
  };
  for (const session of [chains.short, chains.long]) await session.run(chains.feeds);
  return chains;
}

/** Seconds for one product. */
async function timeOne({ short, long, feeds, more }: Chains, count: number): Promise<number> {
  return ((await timeCalls(count, () => long.run(feeds))) - (await timeCalls(count, () => short.run(feeds)))) / more;
}

interface Decoder {
  /** Seconds for the prompt, median of three. */
  prefill(): Promise<number>;
  /** Seconds for `count` tokens after a prompt. */
  generate(count: number): Promise<number>;
}

async function openDecoder(provider: Provider, format: MoeFormat): Promise<Decoder> {
  const { InferenceSession, Tensor } = await import("onnxruntime-node");
  const session = await InferenceSession.create(makeMoe(format), options(provider));
  const layers = Array.from({ length: shape.layers }, (_, l) => l);
  const empty = new Tensor("float32", new Float32Array(0), [1, shape.kvHeads, 0, shape.headSize]);
  const start: Values = Object.fromEntries(
    layers.flatMap((l) => [
      [`k.${l}`, empty],
      [`v.${l}`, empty],
    ]),
  );

  const step = async (ids: readonly number[], length: number, cache: Values) => {
    const total = length + ids.length;
    const out = await session.run({
      ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      past: new Tensor("int32", Int32Array.of(total - 1), [1]),
      total: new Tensor("int32", Int32Array.of(total), [1]),
      ...cache,
    });
    const next = Object.fromEntries(
      layers.flatMap((l) => [
        [`k.${l}`, out[`K.${l}`]],
        [`v.${l}`, out[`V.${l}`]],
      ]),
    ) as Values;
    return { id: indexOfLargest(out["logits"]?.data ?? []), cache: next };
  };
  const prompt = makePrompt();
  return {
    prefill: () => timeCalls(3, () => step(prompt, 0, start)),
    async generate(count) {
      let { id, cache } = await step(prompt, 0, start);
      const begin = performance.now();
      for (let i = 0; i < count; i++) ({ id, cache } = await step([id], prompt.length + i, cache));
      return (performance.now() - begin) / 1000;
    },
  };
}

function options(provider: Provider): { executionProviders: string[]; logSeverityLevel: number } {
  return { executionProviders: [provider], logSeverityLevel: 3 };
}

function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i;
  return best;
}
