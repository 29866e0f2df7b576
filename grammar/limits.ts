/**
 * How large anything may be that a file, a flag or a device asks for: the one place for such numbers. They are far above what any model
 * needs, and low enough that reading the largest takes seconds; a message that refers to one names it and the number that was asked for.
 */
export const LIMITS = {
  /** Characters of one `.moe` file. */
  text: 2 ** 22,
  /** Brackets, blocks and operators inside of one another in a `.moe` file. */
  nesting: 500,
  /** Characters of a name; nobody mistypes a longer one, so no other is suggested for it. */
  name: 100,
  /** Whole numbers up to here are exact in float64. */
  exact: 2 ** 53,
  /** The largest finite f32. */
  f32: 3.4028234663852886e38,
  /** Elements along one axis: kernels count in u32, with room for a sum. */
  axis: 2 ** 31,
  /** Elements of one parameter. */
  elements: 2 ** 40,
  /** Layers of one stack. */
  layers: 2 ** 12,
  /** Parameters of one model, those of all its layers counted. */
  parameters: 2 ** 20,
  /** Entries of a list that a function makes. */
  list: 2 ** 16,
  /** Tokens that an unrolled convolution looks back, its own included. */
  taps: 2 ** 8,
  /** Terms of one size, such as the two of `A*B + C`. */
  terms: 64,
  /** Expressions inside of one another when functions and layers are expanded. */
  expansion: 1000,
  /** Expressions that reading one declaration may evaluate. */
  steps: 2 ** 18,
  /** Elements of one value in a `test` block. */
  tested: 2 ** 24,
  /** Parts into which a parameter is cut that is larger than a binding of the device. */
  parts: 2 ** 10,
  /** Tensors that one line of a map, or a path, may name where the checkpoint has fewer. */
  tensors: 2 ** 16,
  /** Tensors of one checkpoint. */
  entries: 2 ** 18,
  /** Pieces in which one tensor is written where memory is short. */
  units: 2 ** 16,
} as const;
