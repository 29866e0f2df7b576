/** One reading of tensors from start to end, chunk by chunk. */

export type Floats = Float32Array | Float64Array;

/** One reading of the inputs. */
export interface Pass {
  /** Elements from `at` on, of every input. */
  add(at: number, values: readonly Floats[]): void;
  /** What comes next, or the numbers that were wanted. */
  end(): Pass | readonly number[];
}
