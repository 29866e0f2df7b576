/**
 * The attributes of every op, one line each; `OpName` is the closed set of ops. A new op is a line here, or in `scalar.ts`, and a row in
 * `compiler/ops/`. Axes are named by label; sizes that an op introduces come as whole `Axis` values.
 */
import type { ScalarName } from "./scalar.ts";
import type { Axis, DType, TensorType } from "./type.ts";

export interface Attrs extends Readonly<Record<ScalarName, None>> {
  // Sources. A param's path may hold `#`, the index of the layer that the enclosing function is called for.
  input: { readonly name: string; readonly type: TensorType };
  param: { readonly path: string; readonly type: TensorType };
  constant: { readonly value: number; readonly dtype: DType };
  /** Index along an axis, u32. */
  iota: { readonly axis: Axis };
  /** Position of each token in its own sequence, u32 [T]. */
  position: { readonly axis: Axis };
  /** Which of the step's sequences each token is of, u32 [T]. */
  sequence: { readonly axis: Axis };
  /** The length that each token's sequence is declared to have in the end, u32 [T]. */
  length: { readonly axis: Axis };
  /** Which sequence of a training run this is, from 0, u32 []; 0 where there is no run. */
  draw: None;
  /** Numbers that are known when the model is compiled, f32 along an axis. */
  values: { readonly axis: Axis; readonly values: readonly number[] };

  // Map: one output element from the elements at the same named index. Those of one or two numbers are `scalars`.
  cast: { readonly to: DType };
  /** (condition: bool, then, else). */
  select: None;

  // Reduce, over the named axes.
  sum: { readonly axes: readonly string[] };
  reduce_max: { readonly axes: readonly string[] };
  reduce_min: { readonly axes: readonly string[] };

  /**
   * Over the sequences of a micro-batch, or of a whole optimizer step (`global`). A program is written for one sequence, where
   * this is the identity; the batched program has the reduction in its place, and for `global` a buffer of that name.
   */
  pool: { readonly scope: Pool; readonly reduce: "sum" | "max" | "min"; readonly buffer: string | null };

  // View: the same elements under another index.
  rename: { readonly from: string; readonly to: string };
  /** One axis into several, row-major; `into` replaces it in place. */
  split: { readonly axis: string; readonly into: readonly Axis[] };
  /** Several axes (in this order, row-major) into one, at the place of the first. */
  merge: { readonly axes: readonly string[]; readonly to: Axis };
  /** Elements `start ..< start + to.size` of an axis, relabelled `to`. */
  slice: { readonly axis: string; readonly start: number; readonly to: Axis };
  /** out[i] = in[(i + by) mod size]. */
  roll: { readonly axis: string; readonly by: number };
  /** Adds axes along which the value is constant, in front. */
  broadcast: { readonly axes: readonly Axis[] };
  transpose: { readonly order: readonly string[] };
  /** Inputs one after another along an axis that all have; `to` is the joined axis. */
  concat: { readonly axis: string; readonly to: Axis };

  /** Contraction: sums the product of two inputs over the named axes, which both have. */
  dot: { readonly axes: readonly string[] };
  /** (x, index: u32): x at `index` along `axis`; other shared axes match by name. */
  take: { readonly axis: string };
  /** (x, index: u32): the sums of x over the index's axes `over`, each row at its index along `axis`, which comes in front; what is beyond it is in none. */
  spread: { readonly axis: Axis; readonly over: readonly string[] };
  /**
   * The k largest along an axis, ties to the lowest index, in descending order; `part` says which of the results. `ranks` are those of all
   * elements, whatever k is: the largest has rank 0.
   */
  topk: { readonly axis: string; readonly k: Axis; readonly part: "values" | "indices" | "ranks" };
  /** Running sum along an axis. */
  cumsum: { readonly axis: string; readonly exclusive: boolean };
  /**
   * (q [.., T, C], k [.., T, C], v [.., T, V], sink [..] if any): softmax over keys of scale * q·k, times v; by name, so heads are axes.
   * `channel` is the contracted axis C. A key j is seen from i iff j <= i (causal) and i - j < window. `softcap` c maps a
   * score s to c * tanh(s / c) before the mask. A `chunk` hides keys before the query's run of so many positions. A sink
   * is one more score without a value: what it draws is lost. `part` asks for the logarithm of the softmax's sum instead, of which
   * gradients are made. `state` names the cache that the incremental form keeps, null before.
   */
  attend: Attention & { readonly part?: "logsum"; readonly state: string | null };
  /**
   * (q, k, v, gradient of the result, rows [.., T, 2]): what `attend` passes on to one of the first three. `rows` has logsum and mean of
   * each query, the mean being the sum over the value's channels of the result times its gradient.
   */
  attend_grad: Attention & { readonly part: "q" | "k" | "v" };
  /** x `by` positions earlier in its sequence, 0 before that begins; negative: later. `reach`: the longest delay that shares its state. */
  delay: { readonly by: number; readonly reach?: number; readonly state: string | null };
  /**
   * (a, b): h_t = a_t h_{t-1} + b_t along time, from 0; `reverse` goes from the end. `pair` names an axis of real and imaginary parts.
   */
  scan: { readonly pair: string | null; readonly reverse: boolean; readonly state: string | null };
  /**
   * (q [.., T, C], k [.., T, C], v [.., T, V], beta [.., T]): the delta rule's reads, or its `error`s v_t - S_{t-1} k_t. `channel` is C.
   */
  delta_rule: {
    readonly channel: string;
    readonly part: "out" | "error";
    readonly reverse: boolean;
    readonly state: string | null;
  };
  /** Result `part` of function `fn`, run with the parameters under `path` in place of `#`. */
  call: { readonly fn: string; readonly path: string; readonly part: number; readonly type: TensorType };
}

/** What a query sees, and how it scores it. */
export interface Attention {
  readonly channel: string;
  readonly causal: boolean;
  readonly window: number | null;
  readonly scale: number;
  readonly softcap: number | null;
  readonly chunk?: number;
}

/** The axes that no type names: `batch`, the sequences of a micro-batch; `global`, all sequences of an optimizer step. */
export type Pool = "batch" | "global";

type None = Readonly<Record<never, never>>;

export type OpName = keyof Attrs;
