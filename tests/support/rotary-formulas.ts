/**
 * Scaled rotary embeddings from their published formulas, in float64, pair by pair, out of the keys of a config.json. Shares
 * nothing with the library: what `stdlib/nn/rotary.moe` gives is held against it.
 */

/** `rope_parameters` of a config.json. */
export interface RopeParameters {
  readonly rope_type: string;
  readonly factor?: number;
  readonly original_max_position_embeddings?: number;
  readonly low_freq_factor?: number;
  readonly high_freq_factor?: number;
  readonly beta_fast?: number;
  readonly beta_slow?: number;
  readonly truncate?: boolean;
  readonly attention_factor?: number;
  readonly mscale?: number;
  readonly mscale_all_dim?: number;
  readonly long_factor?: readonly number[];
  readonly short_factor?: readonly number[];
  readonly long_mscale?: number;
  readonly short_mscale?: number;
}

export interface RopeShape {
  /** Channels that rotate. */
  readonly channels: number;
  readonly theta: number;
  /** `max_position_embeddings`. */
  readonly limit: number;
  /** Of the whole sequence. */
  readonly length: number;
}

export interface Rotation {
  /** Radians per token of each pair. */
  readonly frequencies: readonly number[];
  /** What cosines and sines are multiplied by. */
  readonly gain: number;
}

export function rotationOf(p: RopeParameters, shape: RopeShape): Rotation {
  const { channels, theta, limit, length } = shape;
  const base = (t: number): number[] =>
    Array.from({ length: channels / 2 }, (_, i) => Math.exp((-2 * i * Math.log(t)) / channels));
  const plain = base(theta);
  const factor = p.factor ?? Number.NaN;
  const start = p.original_max_position_embeddings ?? limit;
  switch (p.rope_type) {
    case "default":
      return { frequencies: plain, gain: 1 };
    case "linear":
      return { frequencies: plain.map((f) => f / factor), gain: 1 };
    case "dynamic": {
      const seen = length > limit ? length : limit;
      const grown = theta * ((factor * seen) / limit - (factor - 1)) ** (channels / (channels - 2));
      return { frequencies: base(grown), gain: 1 };
    }
    case "llama3": {
      const [low, high] = [p.low_freq_factor!, p.high_freq_factor!];
      const frequencies = plain.map((f) => {
        const turns = (start * f) / (2 * Math.PI);
        if (turns < low) return f / factor;
        if (turns > high) return f;
        const smooth = (turns - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
      return { frequencies, gain: 1 };
    }
    case "yarn": {
      const pairOf = (turns: number): number =>
        (channels * Math.log(start / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      let [from, to] = [pairOf(p.beta_fast ?? 32), pairOf(p.beta_slow ?? 1)];
      if (p.truncate !== false) [from, to] = [Math.floor(from), Math.ceil(to)];
      [from, to] = [Math.max(from, 0), Math.min(to, channels - 1)];
      if (from === to) to += 0.001;
      const frequencies = plain.map((f, i) => {
        const slow = Math.min(Math.max((i - from) / (to - from), 0), 1);
        return f * (1 - slow) + (f / factor) * slow;
      });
      const gain =
        p.mscale && p.mscale_all_dim ? heat(factor, p.mscale) / heat(factor, p.mscale_all_dim) : heat(factor, 1);
      return { frequencies, gain: p.attention_factor ?? gain };
    }
    case "su":
    case "longrope": {
      const isLong = length > start;
      const divisors = isLong ? p.long_factor! : p.short_factor!;
      const grown = p.factor ?? limit / start;
      const usual = grown <= 1 ? 1 : Math.sqrt(1 + Math.log(grown) / Math.log(start));
      const gain = (isLong ? p.long_mscale : p.short_mscale) ?? p.attention_factor ?? usual;
      return { frequencies: plain.map((f, i) => f / divisors[i]!), gain };
    }
    default:
      throw new Error(`no formula for ${p.rope_type}`);
  }
}

/** What YaRN multiplies attention scores by, before it is squared. */
export function heat(factor: number, m: number): number {
  return factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;
}

/** A vector at a position: pairs (i, i + half) or, interleaved, (2i, 2i + 1) turned; channels after `2 * half` as they are. */
export function rotate(x: readonly number[], position: number, by: Rotation, interleaved = false): number[] {
  const half = by.frequencies.length;
  const out = [...x];
  by.frequencies.forEach((f, i) => {
    const [a, b] = interleaved ? [2 * i, 2 * i + 1] : [i, i + half];
    const [c, s] = [Math.cos(position * f) * by.gain, Math.sin(position * f) * by.gain];
    out[a] = x[a]! * c - x[b]! * s;
    out[b] = x[b]! * c + x[a]! * s;
  });
  return out;
}
