/** Attention's scores in float64, query by query: what attention and its gradient are both worked out from. */
import type { Attention } from "../graph/attrs.ts";
import { TIME } from "../graph/type.ts";
import type { Value } from "./define.ts";
import { type SizedAxis, offsetsOver, sizeOf, strideOf } from "./values.ts";

/** Where the elements of an operand lie, by head, token and channel; heads that it lacks are all the same. */
export interface HeadPlaces {
  readonly heads: Int32Array;
  readonly time: number;
  readonly channel: number;
}

/** A query and the keys `first` to `last` that it sees, with their scores after the soft cap, by position. */
export interface SeenKeys {
  readonly head: number;
  readonly query: number;
  readonly first: number;
  readonly last: number;
  /** Used again for the next query. */
  readonly scores: Float64Array;
}

export function headPlaces(x: Value, heads: readonly SizedAxis[], channel: string): HeadPlaces {
  return { heads: offsetsOver(x, heads), time: strideOf(x, TIME), channel: strideOf(x, channel) };
}

/** The axes of a query that are neither time nor its channel. */
export function headAxes(q: Value, channel: string): readonly SizedAxis[] {
  return q.axes.filter((a) => a.name !== TIME && a.name !== channel);
}

/** Heads in row-major order of `headAxes`, the queries of each in their order. */
export function forEachQuery(q: Value, k: Value, attention: Attention, visit: (keys: SeenKeys) => void): void {
  const { channel, causal, window, scale, softcap, chunk = null } = attention;
  const heads = headAxes(q, channel);
  const [length, width] = [sizeOf(q, TIME), sizeOf(q, channel)];
  const [atQ, atK] = [headPlaces(q, heads, channel), headPlaces(k, heads, channel)];
  const scores = new Float64Array(length);
  for (let head = 0; head < atQ.heads.length; head++) {
    for (let query = 0; query < length; query++) {
      const inWindow = window === null ? 0 : query - window + 1;
      const first = Math.max(0, inWindow, chunk === null ? 0 : query - (query % chunk));
      const last = causal ? query : length - 1;
      const rowQ = atQ.heads[head]! + query * atQ.time;
      for (let j = first; j <= last; j++) {
        let s = 0;
        const rowK = atK.heads[head]! + j * atK.time;
        for (let c = 0; c < width; c++) s += q.data[rowQ + c * atQ.channel]! * k.data[rowK + c * atK.channel]!;
        s *= scale;
        scores[j] = softcap === null ? s : softcap * Math.tanh(s / softcap);
      }
      visit({ head, query, first, last, scores });
    }
  }
}
