/**
 * What a kernel for attention's gradient is asked for, and the walk that its templates share. Each block of tokens of one side (queries, or
 * keys and values) owns what it stores and meets the tokens of the other side that it sees or is seen by, sequence by sequence: no result
 * is added to by two workgroups, and no probability goes through memory. Every sequence begins and ends within the step, so that a token's
 * position is told from where its sequence begins.
 */
import type { Binding, DeviceFacts, Size } from "../../../plan/plan.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import type { KernelWriter } from "../writer.ts";

/** An operand at a token, a query head and a channel: vec4<f32> for width 4, else f32. */
export type ReadHead = (w: KernelWriter, width: 1 | 4, token: string, head: string, channel: string) => string;

export interface AttendGradSpec {
  readonly id: string;
  /** Whose tokens own the results: `query` for the queries' gradient, `key` for that of keys, of values or of both. */
  readonly owner: "query" | "key";
  /** Heads of what is stored, how many query heads share each, and their numbers (WGSL u32 expressions). */
  readonly owners: number;
  readonly members: number;
  readonly headOf: (owner: string, member: string) => string;
  /** Channels of q·k and of v. */
  readonly channels: number;
  readonly valueChannels: number;
  readonly causal: boolean;
  readonly scale: number;
  readonly window: number | null;
  readonly softcap: number | null;
  readonly chunk: number | null;
  /** Tokens: T. */
  readonly rows: Size;
  readonly q: ReadHead;
  readonly k: ReadHead;
  readonly v: ReadHead;
  /** Gradient of the result, and of a query the logarithm of the softmax's sum (`which` 0) and the mean (1; see the op's row). */
  readonly ct: ReadHead;
  readonly row: (w: KernelWriter, token: string, head: string, which: 0 | 1) => string;
  /** The sequence of each token, u32 [T], and where every sequence's tokens are, u32 [S, 2]. */
  readonly slot: Binding;
  readonly runs: Binding;
  /** Store one result at (token, owner, channel): the sum over score channels, of queries or keys, and that of values; null: not wanted. */
  readonly storeScored: StoreHead | null;
  readonly storeValue: StoreHead | null;
}

export type StoreHead = (
  w: KernelWriter,
  width: 1 | 4,
  token: string,
  owner: string,
  channel: string,
  value: string,
) => string;

/** A way to run attention's gradient. */
export interface AttendGradTemplate {
  readonly name: string;
  readonly suits: (spec: AttendGradSpec, device: DeviceFacts) => boolean;
  readonly emit: (spec: AttendGradSpec, device: DeviceFacts) => EmittedKernel;
}

/** The two sides of a pair: what an owner reads of itself, and of the others, score channels first. */
export function sidesOf({ owner, q, k, v, ct }: AttendGradSpec): {
  readonly own: readonly [ReadHead, ReadHead];
  readonly other: readonly [ReadHead, ReadHead];
} {
  return owner === "query" ? { own: [q, ct], other: [k, v] } : { own: [k, v], other: [q, ct] };
}

/** Channels are read four at a time where both kinds allow it. */
export function widthOf({ channels, valueChannels }: AttendGradSpec): 1 | 4 {
  return channels % 4 === 0 && valueChannels % 4 === 0 ? 4 : 1;
}

/**
 * `body` for every `step` tokens of the other side that meet some of the block's `token ..< token + count`, one sequence after the other. In
 * it, `base` is the first of them, those up to but not `to` count, `slot` is their sequence, which begins at token `run`.
 */
export function forEachOther(
  w: KernelWriter,
  spec: AttendGradSpec,
  slot: string,
  runs: string,
  step: number,
  body: string,
): string {
  const byQuery = spec.owner === "query";
  const lowest = byQuery ? firstSeen(spec, "low") : spec.causal ? "low" : "0u";
  const highest = byQuery ? (spec.causal ? "high" : null) : lastSeeing(spec, "high");
  return `var start = 0u;
loop {
  let slot = ${slot}[token + start];
  let run = ${runs}[slot * 2u];
  let run_end = run + ${runs}[slot * 2u + 1u];
  let until = min(count, run_end - token);
  let low = token + start - run;
  let high = token + until - 1u - run;
  let to = ${highest === null ? "run_end" : `min(run_end, run + ${highest} + 1u)`};
  for (var base = run + ${lowest}; base < to; base += ${step}u) {
${body}
  }
  start = until;
  if (start >= count) { break; }
}`;
}

/** Whether the query at position `at` sees the key at position `p`. */
export function isSeen({ causal, window, chunk }: AttendGradSpec, at: string, p: string): string {
  const all = [
    ...(causal ? [`${p} <= ${at}`] : []),
    ...(window === null ? [] : [`${p} + ${window}u > ${at}`]),
    ...(chunk === null ? [] : [`${p} >= ${at} - ${at} % ${chunk}u`]),
  ];
  return all.length === 0 ? "true" : all.join(" && ");
}

/** The first position that a query at `low` sees. */
function firstSeen({ window, chunk }: AttendGradSpec, low: string): string {
  const inWindow = window === null ? [] : [`${low} - min(${low}, ${window - 1}u)`];
  const inChunk = chunk === null ? [] : [`${low} - ${low} % ${chunk}u`];
  return [...inWindow, ...inChunk].reduce((a, b) => (a === "0u" ? b : `max(${a}, ${b})`), "0u");
}

/** The last position from which a key at `high` is seen; null: all to the end. */
function lastSeeing({ window, chunk }: AttendGradSpec, high: string): string | null {
  const inWindow = window === null ? [] : [`${high} + ${window - 1}u`];
  const inChunk = chunk === null ? [] : [`${high} - ${high} % ${chunk}u + ${chunk - 1}u`];
  return [...inWindow, ...inChunk].reduce<string | null>((a, b) => (a === null ? b : `min(${a}, ${b})`), null);
}
