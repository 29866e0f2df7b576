/**
 * What the templates for attention share: which keys a query sees, how channels are read, and the walk over the queries
 * of a block, one sequence after the other.
 */
import type { AttendSpec } from "./attend.ts";
import type { KernelWriter } from "../writer.ts";

/**
 * One pass per run of queries of the same sequence, usually one: `body` for every `step` positions that the run sees. In it,
 * `base` is the first of them, `slot_row` the sequence's first row of the cache, `last` the last position that any of them sees. The block's
 * queries are `token ..< token + count`; `position` and `slot` are the bound inputs, `ring` is in scope.
 */
export function forEachRun(
  w: KernelWriter,
  spec: AttendSpec,
  position: string,
  slot: string,
  step: number,
  body: string,
): string {
  return `// One pass per run of queries of the same sequence: usually one.
var start = 0u;
loop {
  let slot = ${slot}[token + start];
  var until = start;
  var last = 0u;
  var low = 0xffffffffu;
  loop {
    let p = ${position}[token + until];
    last = max(last, p);
    low = min(low, p);
    until += 1u;
    if (until >= count || ${slot}[token + until] != slot) { break; }
  }
${spec.ahead === null ? "" : lastAhead(w.bind(spec.ahead, "array<u32>", "read"), position)}
  let slot_row = slot * ring;
  for (var base = ${firstSeen(spec, "low")}; base <= last; base += ${step}u) {
${body}
  }
  start = until;
  if (start >= count) { break; }
}`;
}

/** Where the cache holds a unit of position `p` onwards: rows past `last` may hold anything, so the last one is read in their stead. */
export function cacheAt(p: string, row: number, units: number): string {
  return `(slot_row + min(${p}, last) % ring) * ${row}u + kv_head * ${units}u`;
}

/** Units of all heads of a position, in the cache of keys and in that of values. */
export const keyRow = ({ kvHeads }: AttendSpec, key: ChannelUnit): number => kvHeads * key.units;
export const valueRow = ({ valueRow: row }: AttendSpec, value: ChannelUnit): number => row / value.width;

/** The sequence's last token of the step. */
function lastAhead(runs: string, position: string): string {
  return `  last = ${position}[${runs}[slot * 2u] + ${runs}[slot * 2u + 1u] - 1u];`;
}

/** Whether the query at position `at` sees position `p`. */
export function isVisible({ window, chunk, ahead }: AttendSpec, at: string): string {
  const inWindow = window === null ? "" : ` && p + ${window}u > ${at}`;
  const upTo = ahead === null ? at : "last";
  return `p <= ${upTo}${inWindow}${chunk === null ? "" : ` && p >= ${at} - ${at} % ${chunk}u`}`;
}

/** The first position that a query at `low` sees. */
function firstSeen({ window, chunk }: AttendSpec, low: string): string {
  const inWindow = window === null ? null : `${low} - min(${low}, ${window - 1}u)`;
  const inChunk = chunk === null ? null : `${low} - ${low} % ${chunk}u`;
  return inWindow !== null && inChunk !== null ? `max(${inWindow}, ${inChunk})` : (inWindow ?? inChunk ?? "0u");
}

/** How channels are read: four at a time where their number allows it. */
export interface ChannelUnit {
  readonly width: 1 | 4;
  readonly type: string;
  readonly units: number;
  readonly dot: (a: string, b: string) => string;
}

export function unitOf(channels: number): ChannelUnit {
  return channels % 4 === 0
    ? { width: 4, type: "vec4<f32>", units: channels / 4, dot: (a, b) => `dot(${a}, ${b})` }
    : { width: 1, type: "f32", units: channels, dot: (a, b) => `${a} * ${b}` };
}

/** A number as a WGSL f32 literal. */
export function float(x: number): string {
  const text = `${Math.fround(x)}`;
  return /[.e]/.test(text) ? text : `${text}.0`;
}

export function range(n: number): readonly number[] {
  return Array.from({ length: n }, (_, i) => i);
}
