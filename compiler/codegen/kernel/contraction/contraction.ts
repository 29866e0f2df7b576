/**
 * What a contraction kernel is asked for: rows of A times one or several weight matrices, with a prologue on A and an
 * epilogue per column group. Fusion fills this in; the templates beside this file turn it into WGSL, one per regime and
 * kind of device, and may use nothing else.
 */
import type { DeviceFacts, KernelModule, Binding, Size } from "../../../plan/plan.ts";
import type { WeightFormat } from "../../../plan/format.ts";
import type { KernelWriter } from "../writer.ts";

/** A weight in `matrix` layout (see `plan.ts`), bound as `array<vec4<f32>>` or, 16-bit, `array<vec4<u32>>`. */
export interface MatrixOperand {
  readonly binding: Binding;
  readonly storage: WeightFormat;
  /** It lies for a product in the other direction: the layout's k are this one's columns, the layout's n its k. Of `n` it is then whole. */
  readonly transposed: boolean;
  /** Columns (or banks) of this part: `start ..< start + count`; the binding holds only those. */
  readonly part: { readonly split: "bank" | "n"; readonly start: number; readonly count: number };
}

export interface ColumnGroup {
  /** Columns of each matrix; matrices of a group are multiplied at the same column, e.g. gate and up. */
  readonly cols: number;
  readonly matrices: readonly MatrixOperand[];
  /**
   * Statements that take the sums `acc` (one expression per matrix) at `row` and column `col` and store the result.
   * `width` 4: `acc` are vec4<f32> for columns col..col+3 (cols is then a multiple of 4); 1: f32 for one column.
   */
  readonly store: (w: KernelWriter, width: 1 | 4, row: string, col: string, acc: readonly string[]) => string;
}

/** Rows choose their bank (expert) by an index; see the fields for the two ways. */
export interface Routing {
  /** Number of banks N, and choices K per token. Choice s = token * K + j. */
  readonly banks: number;
  readonly choices: number;
  /** u32 [T * K]: bank of each choice. */
  readonly index: Binding;
  /** A has a row per token (row = choice / K) or per choice. */
  readonly aPer: "token" | "choice";
  /** From the `group` kernel, needed in the `prefill` regime: choices sorted by bank, and one vec4<u32>(bank, first, count, 0) per tile. */
  readonly order: Binding | null;
  readonly tiles: Binding | null;
  readonly tileRows: number;
  /** `decode` only: sum over a token's choices, each scaled by `scale(choice)` before the epilogue, whose row is then the token. */
  readonly combine: { readonly scale: (w: KernelWriter, choice: string) => string } | null;
}

export interface ContractionSpec {
  readonly id: string;
  /** Length of the contraction. */
  readonly k: number;
  /** Rows of the output: T, or T * K choices when routed without `combine`. */
  readonly rows: Size;
  /** WGSL expression for the number of rows at run time. */
  readonly rowCount: (w: KernelWriter) => string;
  /** A at (row, k): width 4 gives vec4<f32> for k..k+3 (k a multiple of 4; asked only when spec.k % 4 == 0), width 1 an f32. */
  readonly a: (w: KernelWriter, width: 1 | 4, row: string, k: string) => string;
  readonly groups: readonly ColumnGroup[];
  readonly routing: Routing | null;
}

/** What a template makes: the module and how it is dispatched. */
export interface EmittedKernel {
  readonly module: KernelModule;
  readonly grid: readonly [Size, Size, Size];
  readonly bindings: readonly Binding[];
  readonly constants: Readonly<Record<string, number>>;
}

/** A template: one way to run a contraction on one kind of device. */
export interface ContractionTemplate {
  readonly name: string;
  readonly regime: "prefill" | "decode";
  /** Whether it can run this spec on this device; the first that can, in preference order, is taken. */
  readonly suits: (spec: ContractionSpec, device: DeviceFacts) => boolean;
  readonly emit: (spec: ContractionSpec, device: DeviceFacts) => EmittedKernel;
}
