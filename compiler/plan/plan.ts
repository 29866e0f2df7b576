/**
 * The Plan: the whole contract between compiler and runtime, as versioned JSON plus WGSL text. A runtime needs nothing
 * else to run a model: which parameters to upload in which layout, which tables to fill, which caches to keep, which
 * pipelines to make, and per entry point a flat list of dispatches. Sizes that depend on a step are expressions.
 */
import type { ScalarExpr } from "./scalar.ts";

export const PLAN_VERSION = 1;

export interface Plan {
  readonly format: "moec-plan";
  readonly version: typeof PLAN_VERSION;
  readonly model: string;
  /** What the kernels were chosen for. */
  readonly device: DeviceFacts;
  /** The most tokens that a step may hold of one sequence: rings of states have room for so many. */
  readonly stepTokens: number;
  readonly parameters: readonly Parameter[];
  readonly tables: readonly Table[];
  readonly states: readonly State[];
  readonly buffers: readonly Buffer[];
  readonly modules: readonly KernelModule[];
  readonly entries: readonly Entry[];
}

/** Facts of an adapter that kernels depend on; plain data, so that any variant can be asked for anywhere. */
export interface DeviceFacts {
  /** `software`: SIMD over invocations, no gain from workgroup memory. `gpu`: the rest. */
  readonly kind: "software" | "gpu";
  /** Subgroup size range, or null where the feature is missing. */
  readonly subgroup: { readonly min: number; readonly max: number } | null;
  readonly f16: boolean;
  /** Bytes. */
  readonly maxBinding: number;
  readonly maxBuffer: number;
  readonly workgroupMemory: number;
  readonly maxInvocations: number;
  readonly maxStorageBuffers: number;
  readonly maxWorkgroups: number;
}

/**
 * A size: a number, a symbol, or an operation. Symbols: `T` tokens in the step, `Q` rows wanted at the output, `S`
 * sequences (slots), `P` positions a cache holds. `["ceil", a, b]` is the quotient rounded up.
 */
export type Size = number | "T" | "Q" | "S" | "P" | readonly ["*" | "+" | "-" | "min" | "max" | "ceil", Size, Size];

export type StorageType = "f32" | "f16" | "bf16";

/** One parameter of the model, by path. */
export interface Parameter {
  readonly path: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
  readonly storage: StorageType;
  readonly layout: Layout;
  /** Split along banks or columns so that no part passes the adapter's binding limit; usually one. */
  readonly parts: readonly { readonly start: number; readonly count: number; readonly bytes: number }[];
}

/**
 * How a parameter lies on the GPU. 16-bit elements are packed two to a u32.
 *
 * `plain`: row-major over its axes, cut along the first, padded with zeros to 16 bytes; 16-bit: element i is half i & 1 of
 * word i >> 1.
 * `matrix`: axes regrouped as [bank][k][n] (each list row-major): what is contracted is `k`, what comes out is `n`.
 * With K4, N4 = K, N rounded up to 4, padding zero: f32 element (b, k, n) is word (b * K4 + k) * N4 + n; 16-bit: half
 * k & 1 of word (b * K4 / 2 + (k >> 1)) * N4 + n. So a `vec4` load covers four columns, and for 16 bits two rows of k.
 */
export type Layout =
  | { readonly kind: "plain" }
  | {
      readonly kind: "matrix";
      readonly bank: readonly string[];
      readonly k: readonly string[];
      readonly n: readonly string[];
      readonly split: "bank" | "n";
    };

/** A constant array f32 [P, ...] that the host fills in float64: rotary angles, for instance. `expr` is over the axis names. */
export interface Table {
  readonly id: string;
  /** The first axis may be the position `P`. */
  readonly axes: readonly { readonly name: string; readonly size: Size }[];
  readonly expr: ScalarExpr;
}

/** What is kept between steps, e.g. a key cache f32 [S, P, G, C] or the last rows of a delay; zero at the start of a sequence. */
export interface State {
  readonly id: string;
  /** Words of 4 bytes. */
  readonly elements: Size;
  /** Bytes per token of context, for reports; 0 for what does not grow with it. */
  readonly bytesPerToken: number;
}

/**
 * A buffer of 4-byte elements. `input` buffers are written by the runtime before a step: the model's inputs by name, and
 * the built-in `position`, `slot`, `length` (each u32 [T]: where a token stands, in which sequence, and how long that is
 * declared to become), `wanted` (u32 [Q]) and `runs` (u32 [S, 2]: of each sequence the first token in the step and how many it has,
 * which follow each other).
 * `per-sequence` buffers [S, ...] are what a sequence has once: written when that is known, kept between steps.
 * `output` buffers are read by it. `temporary` ones are shared: those with the same `share` never live at the same time.
 */
export interface Buffer {
  readonly id: string;
  readonly role: "input" | "per-sequence" | "output" | "temporary";
  readonly name: string;
  readonly type: "f32" | "u32" | "i32";
  readonly elements: Size;
  readonly share: string | null;
}

/** One WGSL module with one entry point `main`. Bindings are group 0, binding i for the i-th of a step's list. */
export interface KernelModule {
  readonly id: string;
  readonly wgsl: string;
  readonly workgroup: readonly [number, number, number];
  readonly bindings: readonly ("uniform" | "read" | "write")[];
  readonly features: readonly ("subgroups" | "shader-f16")[];
}

/** `step` is the uniform buffer of this step: vec4<u32>(T, Q, S, P). */
export type Binding =
  | { readonly kind: "step" }
  | { readonly kind: "buffer"; readonly id: string }
  | { readonly kind: "parameter"; readonly path: string; readonly part: number }
  | { readonly kind: "table"; readonly id: string }
  | { readonly kind: "state"; readonly id: string };

export interface Dispatch {
  readonly kind: "dispatch";
  readonly module: string;
  /** In paths and ids, `#` stands for the index of the enclosing repeat. */
  readonly bindings: readonly Binding[];
  /** Workgroups. Over the device's limit in x, the runtime folds into y: kernels take x + y * num_workgroups.x. */
  readonly grid: readonly [Size, Size, Size];
  /** Override constants of the pipeline. */
  readonly constants: Readonly<Record<string, number>>;
  /** What it computes, for profiles: `blocks[#].ffn gate·up silu`, and `file.moe:12:3` of the root op. */
  readonly label: string;
  readonly origin: string | null;
  /** Work per dispatch, for reports: floating-point operations, and bytes of weights and activations touched. */
  readonly flops: Size;
  readonly bytes: Size;
}

/** The same steps for several layers; `indices` are the values of `#`. */
export interface Repeat {
  readonly kind: "repeat";
  readonly indices: readonly number[];
  readonly steps: readonly Dispatch[];
}

/**
 * `prefill` (many rows; scoring too) and `decode` (few rows) take some tokens of any sequences; `whole` takes one sequence, all of it from position 0 and
 * in slot 0, for what looks at later tokens.
 */
export type EntryRegime = "prefill" | "decode" | "whole";

export interface Entry {
  /** Its own among all entries, e.g. `logits.prefill`; what it says is said by the next two. */
  readonly name: string;
  /** What the entry is for: an output of the model, such as `logits`, or what several are called together, such as `metrics`. */
  readonly output: string;
  readonly regime: EntryRegime;
  /** Ids of the buffers that it reads from and leaves results in. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly steps: readonly (Dispatch | Repeat)[];
}

/** The number of a size under a step's values; the one meaning of `Size`. */
export function evaluateSize(
  size: Size,
  values: { readonly T: number; readonly Q: number; readonly S: number; readonly P: number },
): number {
  if (typeof size === "number") return size;
  if (typeof size === "string") return values[size];
  const a = evaluateSize(size[1], values);
  const b = evaluateSize(size[2], values);
  switch (size[0]) {
    case "*":
      return a * b;
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    case "ceil":
      return Math.ceil(a / b);
  }
}
