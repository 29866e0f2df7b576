/** Random small models of the families in the standard library: sizes, options and weights drawn from a seed. */
import type { Json, Model } from "../../compiler/index.ts";
import { buildProgram, evaluateProgram, findMap, makeModel, newContext, readConfig } from "../../compiler/index.ts";
import type { Purpose } from "../../compiler/language/interpret/context.ts";
import type { Value } from "../../compiler/ops/define.ts";
import { elementBytes, ELEMENTS, type ElementType } from "../../runtime/checkpoint/element-type.ts";
import { fromFloat32, toFloat32 } from "../../runtime/checkpoint/data-type.ts";
import { parseConfig } from "../../runtime/model/config-file.ts";
import { openWorkspace } from "../../runtime/load/modules.ts";
import type { ParameterSource } from "../../runtime/gpu/parameters.ts";

/** A stream of numbers in [0, 1), the same for the same seed: Mulberry32. */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b9) >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<V>(values: readonly V[]): V {
    return values[this.below(values.length)]!;
  }
}

export const families = ["llama", "mistral", "mixtral", "cohere"] as const;
export type Family = (typeof families)[number];

export type Config = Readonly<Record<string, Json>>;

/** A config.json with sizes that fill no vector, workgroup or tile. */
export function drawConfig(family: Family, draw: Draw): Config {
  const groups = draw.of([1, 1, 2, 3, 5]);
  const experts = draw.of([1, 2, 5, 9]);
  const shared = {
    model_type: family,
    vocab_size: draw.of([7, 97, 131]),
    num_hidden_layers: draw.of([1, 2]),
    hidden_size: draw.of([3, 16, 18, 30, 50]),
    intermediate_size: draw.of([1, 5, 33, 64]),
    num_key_value_heads: groups,
    num_attention_heads: groups * draw.of([1, 1, 2, 3]),
    head_dim: draw.of([2, 6, 8, 10, 34]),
    tie_word_embeddings: draw.of([true, false]),
    max_position_embeddings: draw.of([48, 1024]),
    rope_theta: draw.of([100, 10000]),
  };
  const window = { sliding_window: draw.of([null, 1, 3, 64]) };
  switch (family) {
    case "llama":
      return {
        ...shared,
        attention_bias: draw.of([true, false]),
        mlp_bias: draw.of([true, false]),
        rope_scaling: drawScaling(draw, shared.head_dim),
      };
    case "mistral":
      return { ...shared, ...window, rope_scaling: drawScaling(draw, shared.head_dim) };
    case "mixtral":
      return { ...shared, ...window, num_local_experts: experts, num_experts_per_tok: 1 + draw.below(experts) };
    case "cohere":
      return {
        ...shared,
        attention_bias: draw.of([true, false]),
        use_qk_norm: draw.of([true, false]),
        logit_scale: draw.of([0.25, 1]),
      };
  }
}

function drawScaling(draw: Draw, channels: number): Json {
  const original_max_position_embeddings = 64;
  const divisors = (): number[] => Array.from({ length: channels / 2 }, () => 1 + draw.below(8) / 4);
  switch (draw.below(6)) {
    case 0:
      return null;
    case 1:
      return { rope_type: "linear", factor: 4 };
    case 2:
      return { rope_type: "yarn", factor: 4, original_max_position_embeddings, truncate: draw.of([true, false]) };
    case 3:
      // Two channels have no exponent for it.
      return channels === 2 ? null : { rope_type: "dynamic", factor: 2 };
    case 4:
      return {
        rope_type: "longrope",
        original_max_position_embeddings,
        long_factor: divisors(),
        short_factor: divisors(),
      };
    default:
      return {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings,
      };
  }
}

export function modelOfConfig(config: Config): Model {
  const file = parseConfig("config.json", JSON.stringify(config));
  const map = findMap(openWorkspace(), file);
  return makeModel(readConfig(map, file), map.item.span);
}

/** Weights for a model: matrices that keep the size of what they are applied to, vectors around one. */
export interface RandomWeights {
  readonly source: ParameterSource;
  /** Logits [T, V] by the oracle, from the values as they are stored. */
  runOracle(ids: readonly number[], purpose?: Purpose, more?: Readonly<Record<string, Value>>): Float64Array;
}

/** `ranges` gives other centres and spreads by the end of a path. */
export function drawWeights(
  model: Model,
  storage: ElementType,
  draw: Draw,
  ranges: Readonly<Record<string, readonly [centre: number, spread: number]>> = {},
): RandomWeights {
  const dtype = ELEMENTS[storage].dtype;
  const stored = new Map<string, Uint8Array>();
  const values = new Map<string, Value>();
  for (const { path, axes } of model.parameters) {
    const count = axes.reduce((n, a) => n * a.size, 1);
    const isMatrix = path.endsWith(".w") && axes.length > 1;
    const usual = [
      isMatrix || path.endsWith(".b") ? 0 : 1,
      isMatrix && !path.startsWith("embed") ? 1.7 / Math.sqrt(axes.at(-1)!.size) : 0.7,
    ] as const;
    const [centre, spread] = Object.entries(ranges).find(([end]) => path.endsWith(end))?.[1] ?? usual;
    const bytes = fromFloat32(
      dtype,
      Float32Array.from({ length: count }, () => centre + spread * (2 * draw.next() - 1)),
    );
    stored.set(path, bytes);
    values.set(path, { axes, data: Float64Array.from(toFloat32(dtype, bytes)) });
  }
  const width = elementBytes(storage);
  const programOf = (purpose: Purpose) => buildProgram(model.instance, newContext("build", undefined, purpose));
  return {
    source: {
      storage: () => storage,
      read: async (path, start, length) => stored.get(path)!.slice(start * width, (start + length) * width),
    },
    runOracle: (ids, purpose = "evaluate", more = {}) =>
      evaluateProgram(programOf(purpose), {
        inputs: { ...more, ids: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) } },
        params: (path) => values.get(path)!,
        sizes: { T: ids.length },
      })["logits"]!.data,
  };
}
