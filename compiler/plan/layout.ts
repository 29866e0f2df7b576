/**
 * Where the elements of a parameter lie on the GPU (`Layout` in `plan.ts`), in numbers: said here for the host, for WGSL and for reports.
 *
 * A plain array is its elements in row-major order. A matrix is padded with zeros to K4 and N4, whole fours of k and n. Up to four rows of k
 * that fit a word lie together: with r = min(4, 32 / bits), the _group_ of element (bank, k, n) is number
 * bank * K4 / r * N4 + floor(k / r) * N4 + n, and the element is number r * group + k % r. So one load covers four columns, and r rows of k.
 * Scales of a format with blocks lie behind the elements, from a multiple of 16 bytes on, as the same layout of (bank, floor(k / size), n).
 */
import type { Format } from "./format.ts";

/** Rows of k that kernels read at a time, and columns. */
export const QUAD = 4;

/** Elements that share a word. */
export const perWord = ({ bits }: Format): number => 32 / bits;

export interface MatrixSteps {
  /** From a group to that of the next bank, and of the next rows of k. */
  readonly bank: number;
  readonly row: number;
  /** Rows of k that lie together. */
  readonly rows: number;
  /** k and n with their padding. */
  readonly k: number;
  readonly n: number;
}

/** Of a matrix, or of the part of one, of k rows and n columns in each bank. */
export function matrixSteps(format: Format, k: number, n: number): MatrixSteps {
  const rows = Math.min(QUAD, perWord(format));
  const [k4, n4] = [Math.ceil(k / QUAD) * QUAD, Math.ceil(n / QUAD) * QUAD];
  return { bank: (k4 / rows) * n4, row: n4, rows, k: k4, n: n4 };
}

/** The steps over vectors of four groups, for k that are multiples of four, and n that count fours. */
export function quadSteps({ bank, row, rows, k, n }: MatrixSteps): MatrixSteps {
  return { bank: bank / QUAD, row: ((QUAD / rows) * row) / QUAD, rows: QUAD, k, n };
}

/** What an index is written in: numbers on the host, expressions in WGSL. */
export interface Arithmetic<V> {
  readonly plus: (a: V, b: V) => V;
  readonly times: (a: V, by: number) => V;
  /** The quotient, rounded down. */
  readonly over: (a: V, by: number) => V;
}

export const numbers: Arithmetic<number> = {
  plus: (a, b) => a + b,
  times: (a, by) => a * by,
  over: (a, by) => Math.floor(a / by),
};

/** The group of an element; null: there is one bank. */
export function groupOf<V>(
  { plus, times, over }: Arithmetic<V>,
  { bank, row, rows }: MatrixSteps,
  at: { readonly bank: V | null; readonly k: V; readonly n: V },
): V {
  const inBank = plus(times(over(at.k, rows), row), at.n);
  return at.bank === null ? inBank : plus(times(at.bank, bank), inBank);
}

/** Bytes of so many elements, up to whole ones of 16. */
function bytesOf({ bits }: Format, elements: number): number {
  return Math.ceil((elements * bits) / 128) * 16;
}

/** Bytes of a plain array, and those of them before its scales. */
export function plainBytes(format: Format, elements: number): number {
  const { block } = format;
  const scales = block === null ? 0 : plainBytes(block.scales, Math.ceil(elements / block.size));
  return plainStart(format, elements) + scales;
}

export const plainStart = bytesOf;

export function matrixBytes(format: Format, banks: number, k: number, n: number): number {
  const { block } = format;
  const scales = block === null ? 0 : matrixBytes(block.scales, banks, Math.ceil(k / block.size), n);
  return matrixStart(format, banks, k, n) + scales;
}

/** Where the scales of a matrix begin. */
export function matrixStart(format: Format, banks: number, k: number, n: number): number {
  const steps = matrixSteps(format, k, n);
  return bytesOf(format, banks * steps.bank * steps.rows);
}
