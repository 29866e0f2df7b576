/**
 * What an attention kernel is asked for: softmax attention (optionally windowed or in chunks) of the step's tokens over the cached keys and
 * values of their sequences, which already hold this step's own: those up to a token's own position, or all of them. Templates beside this file.
 */
import type { Binding, Size } from "../../../plan/plan.ts";
import type { KernelWriter } from "../writer.ts";

export type LoadCache = (w: KernelWriter, width: 1 | 4) => (unit: string) => string;

export interface AttendSpec {
  readonly id: string;
  /** Query heads in all, KV heads in all, and for query head h its KV head (a WGSL u32 expression). */
  readonly heads: number;
  readonly kvHeads: number;
  readonly kvHeadOf: (head: string) => string;
  /** Channels of q·k and of v. */
  readonly channels: number;
  readonly valueChannels: number;
  readonly scale: number;
  readonly window: number | null;
  readonly softcap: number | null;
  /** Positions in a chunk, beyond whose start a query does not look. */
  readonly chunk: number | null;
  /** f32: a score of this head without a value, or none. */
  readonly sink: ((w: KernelWriter, head: string) => string) | null;
  /** Query tokens: T. */
  readonly rows: Size;
  /** q at (token, head, channel): vec4<f32> for width 4 (channels % 4 == 0), else f32. May compute rotary embedding. */
  readonly q: (w: KernelWriter, width: 1 | 4, token: string, head: string, channel: string) => string;
  /**
   * Caches: element (slot, position, kv head, channel) is number ((slot * ring + position % ring) * kvHeads + head) * channels + c. Binds one,
   * and gives its f32, or four from a multiple of four on, by the number over `width`.
   */
  readonly keys: LoadCache;
  readonly values: LoadCache;
  /** Elements from one position's values to the next's: kvHeads * valueChannels, or more where they are the first channels of the keys. */
  readonly valueRow: number;
  /** Positions that a cache holds before it wraps. */
  readonly ring: (w: KernelWriter) => string;
  /** u32 [T] each. */
  readonly position: Binding;
  readonly slot: Binding;
  /** Where every sequence's tokens of the step are, u32 [S, 2], for queries that see to the last of them; null: no further than themselves. */
  readonly ahead: Binding | null;
  /** Stores the variable `logsum`, f32, the logarithm of what a query's softmax is divided by; null: nobody wants it. */
  readonly storeLogsum: ((w: KernelWriter, token: string, head: string) => string) | null;
  /** Stores one output, by `logsum` as well where that is wanted: `value` at (token, head, channel), width as for q by valueChannels. */
  readonly store: (
    w: KernelWriter,
    width: 1 | 4,
    token: string,
    head: string,
    channel: string,
    value: string,
  ) => string;
}
