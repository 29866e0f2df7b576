/**
 * Pieces of tensors as strided views: which elements of a tensor are which elements of a parameter, line by line. A piece is
 * row-major over its `sizes`; a *window* is a contiguous range of the tensor. Reading and writing are the same walk, and
 * both hold no more of a tensor than their window.
 */
import type { Piece } from "../../compiler/index.ts";

/** Elements `start ..< start + length` of a tensor or of a piece. */
export interface Range {
  readonly start: number;
  readonly length: number;
}

/** Whether the piece's elements lie in the tensor one after the other. */
export function isContiguous(piece: Piece): boolean {
  return blockLength(piece) === countElements(piece.sizes);
}

/** Elements that lie one after the other in the tensor before the first gap. */
export function blockLength(piece: Piece): number {
  const { sizes, strides } = collapse(piece);
  return strides.at(-1) === 1 ? sizes.at(-1)! : 1;
}

export function countElements(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

/** Where an element of the piece lies in the tensor. */
export function offsetOf(piece: Piece, flat: number): number {
  return offsetIn(piece.source, piece.sizes, piece.strides, flat);
}

/** The smallest window of the tensor that holds all these elements of the piece. */
export function windowOf(piece: Piece, { start, length }: Range): Range {
  if (length === 0) return { start: piece.source, length: 0 };
  const { sizes, strides } = collapse(piece);
  // Elements out of order: the corners of the view bound them.
  const first = isOrdered(strides) ? offsetOf(piece, start) : piece.source;
  const last = isOrdered(strides)
    ? offsetOf(piece, start + length - 1)
    : sizes.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, piece.source);
  return { start: first, length: last - first + 1 };
}

/** A run of the piece that holds all its elements within the window, the smallest where they are in order; empty when there are none. */
export function runWithin(piece: Piece, window: Range): Range {
  const { sizes, strides } = collapse(piece);
  // Out of order inside, outer axes may still put whole blocks one after the other: experts that are transposed.
  const outer = isOrdered(strides) ? sizes.length : countOuter(sizes, strides);
  const inner = countElements(sizes.slice(outer));
  const span = spanOf(sizes.slice(outer), strides.slice(outer));
  const blocks = countElements(sizes.slice(0, outer));
  const firstFrom = (offset: number): number => {
    let [low, high] = [0, blocks];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (offsetOf(piece, middle * inner) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const from = firstFrom(window.start - span + 1);
  return { start: from * inner, length: (firstFrom(window.start + window.length) - from) * inner };
}

/** Leading axes whose steps are no shorter than all that lies inside them. */
function countOuter(sizes: readonly number[], strides: readonly number[]): number {
  const nests = (i: number): boolean => strides[i]! >= spanOf(sizes.slice(i + 1), strides.slice(i + 1));
  const end = strides.findIndex((_, i) => !nests(i));
  return end < 0 ? strides.length : end;
}

/** From the first element to the last, both counted. */
function spanOf(sizes: readonly number[], strides: readonly number[]): number {
  return sizes.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 1);
}

/** Puts a tensor's elements (`bytes` of the window) where they belong in `out`, which holds the run. */
export function gather(
  bytes: Uint8Array,
  width: number,
  piece: Piece,
  run: Range,
  window: Range,
  out: Uint8Array,
): void {
  const [from, to] = [elements(bytes, width), elements(out, width)];
  eachLine(piece, run, window, (inRun, inWindow, count, step) => {
    if (step === 1) to.set(from.subarray(inWindow, inWindow + count), inRun);
    else for (let i = 0; i < count; i++) to[inRun + i] = from[inWindow + i * step]!;
  });
}

/** The reverse: puts a run's elements where they belong in `out`, which holds the window. */
export function scatter(
  bytes: Uint8Array,
  width: number,
  piece: Piece,
  run: Range,
  window: Range,
  out: Uint8Array,
): void {
  const [from, to] = [elements(bytes, width), elements(out, width)];
  eachLine(piece, run, window, (inRun, inWindow, count, step) => {
    if (step === 1) to.set(from.subarray(inRun, inRun + count), inWindow);
    else for (let i = 0; i < count; i++) to[inWindow + i * step] = from[inRun + i]!;
  });
}

type Line = (inRun: number, inWindow: number, count: number, step: number) => void;

/** Every line of equal steps in both the run and the window, as places in them. */
function eachLine(piece: Piece, run: Range, window: Range, visit: Line): void {
  const { sizes, strides } = collapse(piece);
  const [inner, step] = [sizes.at(-1)!, strides.at(-1)!];
  const end = window.start + window.length;
  for (let i = 0; i < run.length;) {
    const column = (run.start + i) % inner;
    const count = Math.min(inner - column, run.length - i);
    const offset = offsetIn(piece.source, sizes, strides, run.start + i);
    const from = Math.max(0, Math.ceil((window.start - offset) / step));
    const to = Math.min(count, Math.ceil((end - offset) / step));
    if (from < to) visit(i + from, offset + from * step - window.start, to - from, step);
    i += count;
  }
}

function offsetIn(source: number, sizes: readonly number[], strides: readonly number[], flat: number): number {
  let offset = source;
  for (let axis = sizes.length - 1, rest = flat; axis >= 0; axis--) {
    offset += (rest % sizes[axis]!) * strides[axis]!;
    rest = Math.floor(rest / sizes[axis]!);
  }
  return offset;
}

interface View {
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
}

/** The same view with as few axes as possible, at least one: neighbours that continue each other become one. */
function collapse(piece: Piece): View {
  const [sizes, strides]: [number[], number[]] = [[], []];
  piece.sizes.forEach((size, i) => {
    if (size === 1) return;
    const stride = piece.strides[i]!;
    if (strides.at(-1) === stride * size) {
      sizes[sizes.length - 1]! *= size;
      strides[strides.length - 1] = stride;
    } else {
      sizes.push(size);
      strides.push(stride);
    }
  });
  return sizes.length === 0 ? { sizes: [1], strides: [1] } : { sizes, strides };
}

/** Whether the order in the piece is the order in the tensor. */
function isOrdered(strides: readonly number[]): boolean {
  return strides.every((stride, i) => i === 0 || strides[i - 1]! > stride);
}

/** Elements of `width` bytes; bit patterns are moved, never looked at. */
function elements(bytes: Uint8Array, width: number): Uint16Array {
  const Elements = width === 2 ? Uint16Array : width === 4 ? Uint32Array : width === 8 ? BigUint64Array : Uint8Array;
  if (bytes.byteOffset % width !== 0) throw new RangeError(`elements of ${width} bytes are not aligned`);
  // One type stands for all four: what is done with them is the same.
  return new Elements(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / width) as Uint16Array;
}
