/**
 * Attention's gradient over the tokens of a step, for tests and timings of the kernel templates: the spec, the buffers it binds, and what
 * must come out, in float64, pair by pair.
 */
import type { AttendGradSpec } from "../../compiler/codegen/kernel/attend-grad/attend-grad.ts";
import type { KernelWriter } from "../../compiler/codegen/kernel/writer.ts";
import type { Binding } from "../../compiler/plan/plan.ts";
import { runsOf } from "../../runtime/session/feed.ts";
import { randomNumbers } from "./contraction-case.ts";
import { type Words, bindingKey } from "./gpu.ts";

export interface AttendGradShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly channels: number;
  readonly valueChannels?: number;
  readonly causal?: boolean;
  readonly window?: number;
  readonly softcap?: number;
  readonly chunk?: number;
  /** The step's tokens: sequence and position of each, a sequence's from its start and beside each other. */
  readonly tokens: readonly { readonly slot: number; readonly position: number }[];
  /** Whose gradient; those of keys and of values at once. */
  readonly of: "q" | "k" | "v" | "kv";
  /** Leaves the expected values out, for timings. */
  readonly unchecked?: boolean;
}

export interface AttendGradCase {
  readonly spec: AttendGradSpec;
  readonly data: ReadonlyMap<string, Words>;
  readonly outputs: readonly { readonly binding: Binding; readonly expected: Float64Array }[];
}

const buffer = (id: string): Binding => ({ kind: "buffer", id });

export function makeAttendGradCase(id: string, shape: AttendGradShape): AttendGradCase {
  const { heads, kvHeads, channels, tokens, of, window = null, softcap = null, chunk = null, causal = true } = shape;
  const valueChannels = shape.valueChannels ?? channels;
  const [T, group, scale] = [tokens.length, heads / kvHeads, 2 / Math.sqrt(channels)];
  const q = randomNumbers(T * heads * channels, 1);
  const k = randomNumbers(T * kvHeads * channels, 2);
  const v = randomNumbers(T * kvHeads * valueChannels, 3);
  const ct = randomNumbers(T * heads * valueChannels, 4);
  const { logsum, mean, dq, dk, dv } = shape.unchecked === true ? nothing() : expect();
  const slots = 1 + tokens.reduce((n, t) => Math.max(n, t.slot), 0);
  const slot = Uint32Array.from(tokens, (t) => t.slot);
  const words: Readonly<Record<string, Words>> = {
    q,
    k,
    v,
    ct,
    rows: Float32Array.from({ length: 2 * T * heads }, (_, i) => (i % 2 === 0 ? logsum : mean)[i >> 1]!),
    slot,
    runs: runsOf(slot, slots),
  };
  const load =
    (name: string, count: number, width: number) =>
    (w: KernelWriter, lanes: 1 | 4, token: string, head: string, channel: string): string =>
      `${w.bind(buffer(name), lanes === 4 ? "array<vec4<f32>>" : "array<f32>", "read")}[((${token} * ${count}u + ${count === heads ? head : `${head} / ${group}u`}) * ${width}u + ${channel}) / ${lanes}u]`;
  const store =
    (name: string, count: number, width: number) =>
    (w: KernelWriter, lanes: 1 | 4, token: string, owner: string, channel: string, value: string): string =>
      `${w.bind(buffer(name), lanes === 4 ? "array<vec4<f32>>" : "array<f32>", "write")}[((${token} * ${count}u + ${owner}) * ${width}u + ${channel}) / ${lanes}u] = ${value};`;
  const spec: AttendGradSpec = {
    id,
    owner: of === "q" ? "query" : "key",
    owners: of === "q" ? heads : kvHeads,
    members: of === "q" ? 1 : group,
    headOf: (owner, member) => (of === "q" ? owner : `(${owner} * ${group}u + ${member})`),
    channels,
    valueChannels,
    causal,
    scale,
    window,
    softcap,
    chunk,
    rows: "T",
    q: load("q", heads, channels),
    k: load("k", kvHeads, channels),
    v: load("v", kvHeads, valueChannels),
    ct: load("ct", heads, valueChannels),
    row: (w, token, head, which) =>
      `${w.bind(buffer("rows"), "array<f32>", "read")}[2u * (${token} * ${heads}u + ${head}) + ${which}u]`,
    slot: buffer("slot"),
    runs: buffer("runs"),
    storeScored: of === "q" ? store("dq", heads, channels) : of === "v" ? null : store("dk", kvHeads, channels),
    storeValue: of === "v" || of === "kv" ? store("dv", kvHeads, valueChannels) : null,
  };
  const results = { q: { dq }, k: { dk }, v: { dv }, kv: { dk, dv } }[of];
  return {
    spec,
    data: new Map(Object.entries(words).map(([name, x]) => [bindingKey(buffer(name)), x])),
    outputs: Object.entries(results).map(([name, expected]) => ({ binding: buffer(name), expected })),
  };

  function nothing() {
    const [rows, whole] = [new Float64Array(T * heads), (n: number, width: number) => new Float64Array(T * n * width)];
    return {
      logsum: rows,
      mean: rows,
      dq: whole(heads, channels),
      dk: whole(kvHeads, channels),
      dv: whole(kvHeads, valueChannels),
    };
  }

  function expect(): ReturnType<typeof nothing> {
    const made = nothing();
    const [logsums, means] = [new Float64Array(T * heads), new Float64Array(T * heads)];
    const dotted = (a: Words, atA: number, b: Words, atB: number, width: number): number => {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += (a[atA + c] as number) * (b[atB + c] as number);
      return sum;
    };
    tokens.forEach((query, i) => {
      const seen = tokens.flatMap((key, j) => {
        const isSeen =
          key.slot === query.slot &&
          (!causal || key.position <= query.position) &&
          (window === null || key.position + window > query.position) &&
          (chunk === null || key.position >= query.position - (query.position % chunk));
        return isSeen ? [j] : [];
      });
      for (let h = 0; h < heads; h++) {
        const row = i * heads + h;
        const other = (j: number): number => j * kvHeads + Math.floor(h / group);
        const bends = seen.map((j) => {
          const s = scale * dotted(q, row * channels, k, other(j) * channels, channels);
          return softcap === null ? { score: s, slope: scale } : bent(s, softcap);
        });
        const top = Math.max(...bends.map((x) => x.score));
        const total = bends.reduce((n, x) => n + Math.exp(x.score - top), 0);
        const p = bends.map((x) => Math.exp(x.score - top) / total);
        const dp = seen.map((j) => dotted(ct, row * valueChannels, v, other(j) * valueChannels, valueChannels));
        logsums[row] = top + Math.log(total);
        means[row] = p.reduce((n, x, e) => n + x * dp[e]!, 0);
        seen.forEach((j, e) => {
          const ds = p[e]! * (dp[e]! - means[row]!) * bends[e]!.slope;
          for (let c = 0; c < channels; c++) {
            made.dq[row * channels + c]! += ds * (k[other(j) * channels + c] as number);
            made.dk[other(j) * channels + c]! += ds * (q[row * channels + c] as number);
          }
          for (let c = 0; c < valueChannels; c++)
            made.dv[other(j) * valueChannels + c]! += p[e]! * (ct[row * valueChannels + c] as number);
        });
      }
    });
    return { ...made, logsum: logsums, mean: means };
  }

  function bent(s: number, cap: number): { readonly score: number; readonly slope: number } {
    const t = Math.tanh(s / cap);
    return { score: cap * t, slope: scale * (1 - t * t) };
  }
}
