/**
 * What one row of the op table says. A row is everything the compiler knows about an op; passes look at `lowering.kind`,
 * `time` and the rules here, and at an op's name only where that has a reason (ARCHITECTURE.md).
 */
import type { WriteSize } from "./size-text.ts";
import type { Attrs, OpName } from "../graph/attrs.ts";
import type { Dim } from "../graph/dim.ts";
import type { Node } from "../graph/node.ts";
import type { Axis, DType, TensorType } from "../graph/type.ts";
import type { Mismatch } from "./mismatch.ts";
import type { Shorthands } from "./shorthands.ts";

/** A value in the oracle: float64 whatever the dtype, row-major over named axes of known size. */
export interface Value {
  readonly axes: readonly { readonly name: string; readonly size: number }[];
  readonly data: Float64Array;
}

/** How an op behaves along the time axis; from this the compiler derives decoding and refuses what cannot be decoded. */
export type TimeRule =
  /** Position t of the output needs only position t of the inputs. */
  | "pointwise"
  /** Position t needs positions up to t, and has an incremental form that keeps `states`. */
  | "causal"
  /** Position t may need later positions. */
  | "future";

/** What an op along time keeps of each sequence between steps. */
export interface StateShape {
  /** Tells the states of one op apart. */
  readonly part: string;
  /** Axes of one row, in the order of memory. */
  readonly row: readonly Axis[];
  readonly rows: StateRows;
}

/**
 * A row per position, of which those within `reach` are looked at again (null: all); or the last `count` rows, as the step that is over
 * left them.
 */
export type StateRows =
  { readonly kind: "positions"; readonly reach: number | null } | { readonly kind: "last"; readonly count: number };

/**
 * How an op becomes code. Fusion looks at the kind alone.
 * `map`: `scalar` gives the WGSL expression from the operands' expressions; `dtype` is that of the last operand, `lanes` 4
 * asks for vec4 operands (all of them). An operand's text may occur more than once, so it should be a name. `view`: `index` maps an output index (WGSL u32 expressions by axis label) to the
 * input's. `reduce`: an identity and a combining expression. The others say what they are; a kernel's writer knows the attributes of its own.
 */
export type Lowering<O extends OpName> =
  | { readonly kind: "source" }
  | {
      readonly kind: "map";
      readonly scalar: (operands: readonly string[], attrs: Attrs[O], dtype: DType, lanes?: Lanes) => string;
    }
  | { readonly kind: "reduce"; readonly identity: number; readonly combine: (a: string, b: string) => string }
  | {
      readonly kind: "view";
      readonly index: (
        out: ReadonlyMap<string, string>,
        attrs: Attrs[O],
        input: TensorType,
        size: WriteSize,
      ) => ReadonlyMap<string, string>;
    }
  | { readonly kind: "concat" }
  | { readonly kind: "gather" }
  /** Sums of rows, each where an index puts it. */
  | { readonly kind: "spread" }
  | { readonly kind: "contraction" }
  /** Elements along one axis of a row by their rank in it. */
  | { readonly kind: "choice" }
  /** Along one axis of a row, what the elements so far come to. */
  | { readonly kind: "running" }
  /** Attention over keys and values of other tokens, from a cache of them. */
  | { readonly kind: "attend" }
  /** What attention passes back to its queries, keys or values, which lie in memory. */
  | { readonly kind: "attend-grad" }
  /** An earlier row of the input: in memory, or in the op's state. */
  | { readonly kind: "delay" }
  /** Token after token of a sequence, from the op's state and back to it: a value for each element, or a memory of pairs. */
  | { readonly kind: "scan" }
  | { readonly kind: "memory" }
  | { readonly kind: "call" };

/** How many elements an expression computes at once: a scalar (when left out) or a vec4. */
export type Lanes = 1 | 4;

export interface Sample<O extends OpName> {
  readonly attrs: Attrs[O];
  /** Axis list such as "T=2 D=3", dtype, and row-major data. */
  readonly inputs: readonly { readonly axes: string; readonly dtype?: DType; readonly data: readonly number[] }[];
  readonly output: readonly number[];
}

export interface OpDef<O extends OpName> {
  readonly infer: (inputs: readonly TensorType[], attrs: Attrs[O]) => TensorType | Mismatch;
  /** The meaning. `sizes` gives run-time sizes (T) for ops that introduce axes. */
  readonly evaluate: (
    inputs: readonly Value[],
    attrs: Attrs[O],
    type: TensorType,
    sizes: (dim: Dim) => number,
  ) => Value;
  /** Gradients of the inputs from the gradient of the output; null where none flows; `null` rule: not differentiable. */
  readonly vjp: ((b: Shorthands, node: Node<O>, ct: Node) => readonly (Node | null)[]) | null;
  readonly time: (attrs: Attrs[O], inputs: readonly TensorType[]) => TimeRule;
  /** Of causal ops; none for what looks ahead alone, which begins and ends with its step. */
  readonly states?: (node: Node<O>) => readonly StateShape[];
  /** Floating-point operations and bytes of intermediate traffic for one evaluation, in symbolic sizes. */
  readonly flops: (inputs: readonly TensorType[], attrs: Attrs[O], out: TensorType) => Dim;
  readonly lowering: Lowering<O>;
  readonly samples: readonly Sample<O>[];
  /** How `.moe` calls the op by its name. Left out where it has no name there, or a meaning beyond its row (`language/interpret/`). */
  readonly called?: Called<O>;
}

export interface Called<O extends OpName> {
  /** What it gives, in one sentence without a full stop: editors show it. */
  readonly doc: string;
  /** Names of the operands, in their order. */
  readonly operands: readonly string[];
  /** What stands in brackets. */
  readonly brackets: "nothing" | "one axis" | "axes";
  /** Numbers and truth values by name, each with what it is when it is not given. */
  readonly options?: Readonly<Record<string, number | boolean>>;
  readonly attrs: (axes: readonly Axis[], options: Readonly<Record<string, number | boolean>>) => Attrs[O];
}

/** Rows for some of the ops: what each file of this folder exports. */
export type Rows<N extends OpName> = { readonly [O in N]: OpDef<O> };
