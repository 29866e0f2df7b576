/**
 * Number formats of weights on the GPU, a row each, and where elements lie in the layouts of a plan (`Layout`): said here, and nowhere else.
 * A new format is a row, and how it widens in `codegen/wgsl/unpack.ts`. Limit: no format has scales beside its elements yet.
 */

export interface Format {
  /** Elements that share a u32: neighbours in a plain array, rows of k in a matrix. The first has the low bits. */
  readonly perWord: 1 | 2;
}

export const FORMATS = {
  f32: { perWord: 1 },
  f16: { perWord: 2 },
  bf16: { perWord: 2 },
} as const satisfies Readonly<Record<string, Format>>;

export type WeightFormat = keyof typeof FORMATS;

export const WEIGHT_FORMATS = Object.keys(FORMATS) as readonly WeightFormat[];

/** Rows of k that kernels read at a time, and columns: k and n are padded with zeros to whole ones. */
const QUAD = 4;

export function bytesPerElement(storage: WeightFormat): number {
  return 4 / FORMATS[storage].perWord;
}

/** Bytes of a plain array with its padding. */
export function plainBytes(storage: WeightFormat, elements: number): number {
  return Math.ceil((elements * bytesPerElement(storage)) / 16) * 16;
}

/** Steps in words of a matrix: element (bank, k, n) is in word `bank * steps.bank + floor(k / perWord) * steps.row + n`. */
export interface MatrixSteps {
  readonly bank: number;
  readonly row: number;
  readonly perWord: Format["perWord"];
  /** Rows of words that four rows of k are. */
  readonly perQuad: number;
  /** k and n with their padding. */
  readonly k: number;
  readonly n: number;
}

/** Of a matrix, or of the part of one, of k rows and n columns in each bank. */
export function matrixSteps(storage: WeightFormat, k: number, n: number): MatrixSteps {
  const { perWord } = FORMATS[storage];
  const [rows, columns] = [Math.ceil(k / QUAD) * QUAD, Math.ceil(n / QUAD) * QUAD];
  return { bank: (rows / perWord) * columns, row: columns, perWord, perQuad: QUAD / perWord, k: rows, n: columns };
}

export function matrixBytes(storage: WeightFormat, banks: number, k: number, n: number): number {
  return banks * matrixSteps(storage, k, n).bank * 4;
}
