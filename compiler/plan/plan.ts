/**
 * The Plan: the whole contract between compiler and runtime, as versioned JSON plus WGSL text. A runtime needs nothing
 * else to run a model: which parameters to upload in which layout, which tables to fill, which caches to keep, which
 * pipelines to make, and per entry point a flat list of dispatches. Sizes that depend on a step are expressions.
 */
import type { WeightFormat } from "./format.ts";
import type { ScalarExpr } from "./scalar.ts";
import { type StoreType, storedBytes } from "./store.ts";

export const PLAN_VERSION = 2;

export interface Plan {
  readonly format: "moec-plan";
  readonly version: typeof PLAN_VERSION;
  readonly model: string;
  /** What the kernels were chosen for. */
  readonly device: DeviceFacts;
  /** The most tokens that a step may hold of one sequence: rings of states have room for so many. */
  readonly stepTokens: number;
  /** The symbols of its sizes; a step's uniform is a u32 for each, in this order. */
  readonly symbols: readonly string[];
  /** Numbers that the host works out before an entry runs. */
  readonly scalars: readonly HostScalar[];
  readonly parameters: readonly Parameter[];
  readonly tables: readonly Table[];
  readonly states: readonly State[];
  readonly buffers: readonly Buffer[];
  readonly modules: readonly KernelModule[];
  readonly entries: readonly Entry[];
}

/** Facts of an adapter that kernels depend on; plain data, so that any variant can be asked for anywhere. */
export interface DeviceFacts {
  /**
   * Whether what passes through workgroup memory is cheaper than to read or compute it again. Where not, that memory is as slow as any other,
   * and a barrier makes a core walk over all invocations once more.
   */
  readonly fastWorkgroupMemory: boolean;
  /** Whether more invocations run at once than one subgroup for each of a few cores: only then is more work in parallel, or hides latency. */
  readonly manyCores: boolean;
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

/** Sizes that only a step knows, as the compiler names them, and what they count. */
export const SIZE_SYMBOLS = {
  T: "tokens in the step",
  Q: "rows wanted at the output",
  S: "sequences, each in a slot",
  P: "positions that a cache holds",
} as const;

export type SizeSymbol = keyof typeof SIZE_SYMBOLS;

export function isSizeSymbol(text: string): text is SizeSymbol {
  return Object.hasOwn(SIZE_SYMBOLS, text);
}

/** A size: a number, one of the plan's symbols, or an operation. `["ceil", a, b]` is the quotient rounded up. */
export type Size = number | string | readonly ["*" | "+" | "-" | "min" | "max" | "ceil", Size, Size];

/** What each symbol is in a step. */
export type SizeValues = Readonly<Record<string, number>>;

/**
 * An f32 that the host computes in float64, such as a learning rate. `expr` is over `HOST_NAMES`; all scalars of a plan are one uniform,
 * an f32 each, in the plan's order.
 */
export interface HostScalar {
  readonly id: string;
  readonly expr: ScalarExpr;
}

/** What an expression of a host scalar may use. */
export const HOST_NAMES = {
  step: "optimizer steps, this one counted",
  steps: "optimizer steps of the whole run",
  tokens: "tokens of this optimizer step",
  micro: "micro-batches of this optimizer step",
  drawn: "sequences of the run before this micro-batch",
} as const;

export type HostValues = Readonly<Record<keyof typeof HOST_NAMES, number>>;

/** One parameter of the model, by path. */
export interface Parameter {
  readonly path: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
  readonly storage: WeightFormat;
  readonly layout: Layout;
  /** Split along banks or columns so that no part passes the adapter's binding limit; usually one. */
  readonly parts: readonly { readonly start: number; readonly count: number; readonly bytes: number }[];
}

/**
 * How a parameter lies on the GPU. Elements are in one of the formats of `format.ts`; where each of them is says `layout.ts`.
 *
 * `plain`: row-major over its axes, cut along the first.
 * `matrix`: axes regrouped as [bank][k][n] (each list row-major): what is contracted is `k`, what comes out is `n`. A load covers four
 * columns, and as many rows of k as fit: one of 32 bits, two of 16, four of 8.
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

/** What is kept between steps, e.g. a key cache [S, P, G, C] or the last rows of a delay; zero at the start of a sequence. */
export interface State {
  readonly id: string;
  readonly elements: Size;
  /** What they are in memory. */
  readonly store: StoreType;
  /** Bytes per token of context, for reports; 0 for what does not grow with it. */
  readonly bytesPerToken: number;
}

/**
 * A buffer of elements that kernels compute with in 4 bytes. `input` buffers are written by the runtime before a step: the model's inputs by name, and
 * the built-in `position`, `slot`, `length` (each u32 [T]: where a token stands, in which sequence, and how long that is
 * declared to become), `wanted` (u32 [Q]) and `runs` (u32 [S, 2]: of each sequence the first token in the step and how many it has,
 * which follow each other).
 * `per-sequence` buffers [S, ...] are what a sequence has once: written when that is known, kept between steps.
 * `output` buffers are read by it. `temporary` ones are shared: those with the same `share` never live at the same time.
 * `kept` buffers live across steps, such as gradients that micro-batches add up, and what an optimizer remembers.
 */
export interface Buffer {
  readonly id: string;
  readonly role: "input" | "per-sequence" | "output" | "temporary" | "kept";
  readonly name: string;
  readonly type: "f32" | "u32" | "i32";
  readonly elements: Size;
  /** What elements f32 are in memory: f32 but for what kernels leave for each other. Others take 4 bytes. */
  readonly store: StoreType;
  readonly share: string | null;
  /** Of role `kept`, else null. */
  readonly kept: Kept | null;
}

export interface Kept {
  /** When all its elements are `initial` again: at the start of a run, or also of each optimizer step. */
  readonly reset: "run" | "step";
  readonly initial: number;
  /**
   * The parameter that it belongs to, as its gradient or what an optimizer remembers of it: an element for each of the parameter's, as it
   * lies in f32, or for each index of some of its axes.
   */
  readonly of: string | null;
}

/** One WGSL module with one entry point `main`. Bindings are group 0, binding i for the i-th of a step's list. */
export interface KernelModule {
  readonly id: string;
  readonly wgsl: string;
  readonly workgroup: readonly [number, number, number];
  readonly bindings: readonly ("uniform" | "read" | "write")[];
  readonly features: readonly ("subgroups" | "shader-f16")[];
}

/**
 * `step` is the uniform of this step, a u32 per symbol of the plan; `scalars` that of the host's numbers, an f32 each. A parameter is
 * written by entries of phase `update` alone.
 */
export type Binding =
  | { readonly kind: "step" }
  | { readonly kind: "scalars" }
  | { readonly kind: "buffer"; readonly id: string }
  | { readonly kind: "parameter"; readonly path: string; readonly part: number }
  | { readonly kind: "table"; readonly id: string }
  | { readonly kind: "state"; readonly id: string };

export interface Dispatch {
  readonly kind: "dispatch";
  readonly module: string;
  /** In paths and ids, `#` stands for the index of the enclosing repeat; no name that is declared has one. */
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

/** The same steps for several layers; `indices` are the values of `#`, in the order in which they run: backward goes down. */
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

/**
 * `infer` computes outputs. `micro` and `update` train: `micro` runs for each micro-batch of an optimizer step, `update`, of which a plan has
 * one, once after them and ends the step.
 */
export type EntryPhase = "infer" | "micro" | "update";

export interface Entry {
  /** Its own among all entries, e.g. `logits.prefill`; what it says is said by the next two. */
  readonly name: string;
  /** What the entry is for: an output of the model, such as `logits`, or what several are called together, such as `metrics`. */
  readonly output: string;
  readonly regime: EntryRegime;
  readonly phase: EntryPhase;
  /** Ids of the buffers that it reads from and leaves results in. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly steps: readonly (Dispatch | Repeat)[];
}

/** A binding of a repeat's dispatch with the index in place of `#`. */
export function fillIndex(binding: Binding, index: number): Binding {
  const fill = (text: string): string => text.replaceAll("#", String(index));
  switch (binding.kind) {
    case "step":
    case "scalars":
      return binding;
    case "parameter":
      return { ...binding, path: fill(binding.path) };
    default:
      return { ...binding, id: fill(binding.id) };
  }
}

/** Bytes of a state, or of a buffer. */
export function heldBytes({ elements, store }: Pick<State | Buffer, "elements" | "store">, values: SizeValues): number {
  return storedBytes(store, evaluateSize(elements, values));
}

/** Elements for one of everything: one token, one row, one sequence, one position. */
export function widthOf(size: Size): number {
  return evaluateSize(size, Object.fromEntries(symbolsOf(size).map((symbol) => [symbol, 1])));
}

/** The symbols in a size. */
export function symbolsOf(size: Size): readonly string[] {
  if (typeof size === "number") return [];
  return typeof size === "string" ? [size] : [...symbolsOf(size[1]), ...symbolsOf(size[2])];
}

/** The number of a size under a step's values; the one meaning of `Size`. */
export function evaluateSize(size: Size, values: SizeValues): number {
  if (typeof size === "number") return size;
  if (typeof size === "string") {
    const value = values[size];
    if (value === undefined) throw new Error(`the step does not say what ${size} is`);
    return value;
  }
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
