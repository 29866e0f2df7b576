/** What a kernel for the delta rule is asked for: a memory [C, V] per sequence and head, through the sequence's tokens of the step. */
import type { Binding, DeviceFacts, KernelModule, Size } from "../../../plan/plan.ts";
import type { KernelWriter } from "../writer.ts";

export interface DeltaSpec {
  readonly id: string;
  readonly heads: number;
  /** Channels of keys and queries, and of values. */
  readonly channels: number;
  readonly values: number;
  /** f32 (sequence, head, channel, value) in this order; null: it begins as zero and is not kept. */
  readonly memory: Binding | null;
  /** A sequence's tokens of the step from the last to the first. */
  readonly reverse: boolean;
  /** What is stored: what queries read, or what values differ by from what their keys found before. */
  readonly part: "out" | "error";
  readonly runs: Binding;
  /** f32 expressions of WGSL u32 names. */
  readonly q: (w: KernelWriter, token: string, head: string, channel: string) => string;
  readonly k: (w: KernelWriter, token: string, head: string, channel: string) => string;
  readonly v: (w: KernelWriter, token: string, head: string, value: string) => string;
  readonly beta: (w: KernelWriter, token: string, head: string) => string;
  /** Statements that store one result. */
  readonly store: (w: KernelWriter, token: string, head: string, value: string, result: string) => string;
}

/** The token that is walked in place `i` of its sequence's. */
export function tokenAt({ reverse }: DeltaSpec, i: string): string {
  return reverse ? `start + tokens - 1u - (${i})` : `start + ${i}`;
}

export interface DeltaKernel {
  readonly module: KernelModule;
  readonly grid: readonly [Size, Size, Size];
  readonly bindings: readonly Binding[];
  readonly constants: Readonly<Record<string, number>>;
}

export interface DeltaTemplate {
  readonly name: string;
  readonly suits: (spec: DeltaSpec, regime: "prefill" | "decode", device: DeviceFacts) => boolean;
  readonly emit: (spec: DeltaSpec, device: DeviceFacts) => DeltaKernel;
}

/** Names of this workgroup's sequence, head and block of `columns` values; leaves where there is nothing to do. */
export function openDelta(
  w: KernelWriter,
  spec: DeltaSpec,
  columns: number,
): { readonly text: string; readonly blocks: number } {
  const blocks = Math.ceil(spec.values / columns);
  const runs = w.bind(spec.runs, "array<u32>", "read");
  const text = `let sequence = group / ${blocks * spec.heads}u;
if (sequence >= ${w.step("S")}) { return; }
let head = group / ${blocks}u % ${spec.heads}u;
let column = group % ${blocks}u * ${columns}u;
let start = ${runs}[sequence * 2u];
let tokens = ${runs}[sequence * 2u + 1u];
if (tokens == 0u) { return; }
let memory_at = (sequence * ${spec.heads}u + head) * ${spec.channels * spec.values}u;`;
  return { text, blocks };
}
