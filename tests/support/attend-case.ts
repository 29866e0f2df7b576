/**
 * Attention with random queries and caches, for tests and timings of the kernel templates: the spec, the buffers it
 * binds, and what must come out, in float64.
 */
import type { AttendSpec } from "../../compiler/codegen/kernel/attend/attend.ts";
import { readerOf } from "../../compiler/codegen/kernel/stored.ts";
import { narrowF16, widenF16 } from "../../compiler/plan/half.ts";
import type { Binding } from "../../compiler/plan/plan.ts";
import type { StoreType } from "../../compiler/plan/store.ts";
import { runsOf } from "../../runtime/session/feed.ts";
import { randomNumbers } from "./contraction-case.ts";
import { type Words, bindingKey } from "./gpu.ts";
import { packArray } from "./matrix.ts";

export interface AttendShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly channels: number;
  readonly valueChannels?: number;
  readonly window?: number;
  readonly softcap?: number;
  readonly chunk?: number;
  /** Queries see every position of their sequence up to the step's last. */
  readonly ahead?: boolean;
  /** A score without a value for every head. */
  readonly sinks?: readonly number[];
  /** What the caches are kept as; f32 unless it is said. */
  readonly store?: StoreType;
  /** Positions that the cache of a sequence holds. */
  readonly ring: number;
  /** The step's tokens: sequence and position of each. */
  readonly tokens: readonly { readonly slot: number; readonly position: number }[];
  /** Leaves the expected values out, for timings. */
  readonly unchecked?: boolean;
}

export interface AttendCase {
  readonly spec: AttendSpec;
  readonly data: ReadonlyMap<string, Words>;
  readonly output: { readonly binding: Binding; readonly length: number; readonly expected: Float64Array };
}

const buffer = (id: string): Binding => ({ kind: "buffer", id });

export function makeAttendCase(id: string, shape: AttendShape): AttendCase {
  const { heads, kvHeads, channels, ring, tokens } = shape;
  const valueChannels = shape.valueChannels ?? channels;
  const slots = 1 + tokens.reduce((n, t) => Math.max(n, t.slot), 0);
  const scale = 4 / Math.sqrt(channels);
  const q = randomNumbers(tokens.length * heads * channels, 1);
  const { store = "f32" } = shape;
  const held = (x: Float32Array): Float32Array => (store === "f16" ? widenF16(narrowF16(x)) : x);
  const keys = held(randomNumbers(slots * ring * kvHeads * channels, 2));
  const values = held(randomNumbers(slots * ring * kvHeads * valueChannels, 3));
  const packed = (x: Float32Array): Words => (store === "f16" ? packArray(x, "f16") : x);
  const data = new Map<string, Words>([
    [bindingKey(buffer("q")), q],
    [bindingKey(buffer("keys")), packed(keys)],
    [bindingKey(buffer("values")), packed(values)],
    [bindingKey(buffer("position")), Uint32Array.from(tokens, (t) => t.position)],
    [bindingKey(buffer("slot")), Uint32Array.from(tokens, (t) => t.slot)],
  ]);
  if (shape.sinks !== undefined) data.set(bindingKey(buffer("sinks")), Float32Array.from(shape.sinks));
  if (shape.ahead === true)
    data.set(
      bindingKey(buffer("runs")),
      runsOf(
        Uint32Array.from(tokens, (t) => t.slot),
        slots,
      ),
    );
  const spec: AttendSpec = {
    id,
    heads,
    kvHeads,
    kvHeadOf: (head) => `(${head} / ${heads / kvHeads}u)`,
    channels,
    valueChannels,
    scale,
    window: shape.window ?? null,
    softcap: shape.softcap ?? null,
    chunk: shape.chunk ?? null,
    sink: shape.sinks === undefined ? null : (w, head) => `${w.bind(buffer("sinks"), "array<f32>", "read")}[${head}]`,
    rows: "T",
    q: (w, width, token, head, channel) =>
      `${w.bind(buffer("q"), width === 4 ? "array<vec4<f32>>" : "array<f32>", "read")}[((${token} * ${heads}u + ${head}) * ${channels}u + ${channel}) / ${width}u]`,
    keys: (w, width) => readerOf(w, buffer("keys"), store, width),
    values: (w, width) => readerOf(w, buffer("values"), store, width),
    valueRow: kvHeads * valueChannels,
    ring: () => `${ring}u`,
    position: buffer("position"),
    slot: buffer("slot"),
    ahead: shape.ahead === true ? buffer("runs") : null,
    storeLogsum: null,
    store: (w, width, token, head, channel, value) =>
      `${w.bind(buffer("out"), width === 4 ? "array<vec4<f32>>" : "array<f32>", "write")}[((${token} * ${heads}u + ${head}) * ${valueChannels}u + ${channel}) / ${width}u] = ${value};`,
  };
  const length = tokens.length * heads * valueChannels;
  return {
    spec,
    data,
    output: { binding: buffer("out"), length, expected: shape.unchecked === true ? new Float64Array() : expect() },
  };

  function expect(): Float64Array {
    const out = new Float64Array(length);
    tokens.forEach(({ slot, position }, t) => {
      const windowed = shape.window === undefined ? 0 : Math.max(0, position - shape.window + 1);
      const first = Math.max(windowed, shape.chunk === undefined ? 0 : position - (position % shape.chunk));
      for (let h = 0; h < heads; h++) {
        const at = (p: number): number => (slot * ring + (p % ring)) * kvHeads + Math.floor(h / (heads / kvHeads));
        const scores: number[] = [];
        const last = shape.ahead === true ? tokens.findLast((other) => other.slot === slot)!.position : position;
        for (let p = first; p <= last; p++) {
          let sum = 0;
          for (let c = 0; c < channels; c++)
            sum += (q[(t * heads + h) * channels + c] as number) * (keys[at(p) * channels + c] as number);
          const { softcap } = shape;
          scores.push(softcap === undefined ? sum * scale : softcap * Math.tanh((sum * scale) / softcap));
        }
        const sink = shape.sinks?.[h] ?? -Infinity;
        const top = Math.max(sink, ...scores);
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((a, b) => a + b, Math.exp(sink - top));
        for (let c = 0; c < valueChannels; c++) {
          let sum = 0;
          weights.forEach((weight, i) => (sum += weight * (values[at(first + i) * valueChannels + c] as number)));
          out[(t * heads + h) * valueChannels + c] = sum / total;
        }
      }
    });
    return out;
  }
}
