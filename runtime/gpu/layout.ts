/**
 * Packs a parameter's source bytes into the layout that kernels load (`Layout` in compiler/plan), chunk by chunk, so that
 * a tensor of gigabytes needs a few megabytes of staging, and room for its scales. What keeps its type is moved as bits: a matrix whose `k`
 * is contiguous in the source, the usual checkpoint order, is a transpose of 32-bit words even for 16-bit elements.
 */
import type { Parameter } from "../../compiler/plan/plan.ts";
import { encode } from "../../compiler/plan/encode.ts";
import { type Codes, type Format, FORMATS } from "../../compiler/plan/format.ts";
import { matrixStart, matrixSteps, plainStart } from "../../compiler/plan/layout.ts";
import { toFloat32 } from "../checkpoint/data-type.ts";
import { elementBytes, ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";
import { placesOf } from "./unpack.ts";

/** A parameter as a checkpoint holds it: little-endian, row-major over the parameter's axes. */
export interface SourceTensor {
  readonly dtype: ElementType;
  readonly bytes: Uint8Array;
}

/** Bytes for `offset` of the part's buffer. `bytes` is reused: valid until the next chunk is asked for. */
export interface Chunk {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The bytes of one part of a parameter, in order and without gaps, in chunks of at most about `chunkBytes`.
 * Throws when the source does not hold one element per element of the parameter: the caller has checked shapes before.
 */
export function* packPart(
  parameter: Parameter,
  part: number,
  source: SourceTensor,
  chunkBytes = 8 << 20,
): Generator<Chunk> {
  const { start, count, bytes } = parameter.parts[part]!;
  const elements = parameter.axes.reduce((n, axis) => n * axis.size, 1);
  if (source.bytes.byteLength !== elements * elementBytes(source.dtype))
    throw new RangeError(
      `${parameter.path}: ${source.bytes.byteLength} bytes for ${elements} ${source.dtype} elements`,
    );
  let end = 0;
  // A plain parameter is cut along its first axis.
  const row = parameter.axes.slice(1).reduce((n, axis) => n * axis.size, 1);
  const chunks =
    parameter.layout.kind === "plain"
      ? packPlain(parameter, source, { start: start * row, count: count * row, bytes }, chunkBytes)
      : packMatrix(parameter, parameter.layout, source, { start, count, bytes }, chunkBytes);
  for (const chunk of chunks) {
    end = chunk.offset + chunk.bytes.byteLength;
    yield chunk;
  }
  if (end !== bytes) throw new RangeError(`${parameter.path}: part ${part} packs to ${end} bytes, not ${bytes}`);
}

/** Bits of 16-bit elements, or of 32-bit ones. */
type Words = Uint16Array | Uint32Array;
interface Range {
  readonly start: number;
  readonly count: number;
  /** Of the part. */
  readonly bytes: number;
}
type MatrixLayout = Extract<Parameter["layout"], { kind: "matrix" }>;

function* packPlain(
  { storage }: Parameter,
  { dtype, bytes: stored }: SourceTensor,
  { start, count, bytes }: Range,
  chunkBytes: number,
): Generator<Chunk> {
  const format = FORMATS[storage];
  const width = elementBytes(dtype);
  const scales = format.block === null ? null : new Float32Array(Math.ceil(count / format.block.size));
  // Whole words, and whole blocks.
  const unit = format.block === null ? 8 : 2 * format.block.size;
  const perChunk = Math.max(unit, Math.floor(chunkBytes / 2 / unit) * unit);
  const end = plainStart(format, count);
  for (let at = 0; at < count; at += perChunk) {
    const n = Math.min(perChunk, count - at);
    const piece = stored.subarray((start + at) * width, (start + at + n) * width);
    const offset = (at * format.bits) / 8;
    if (storage === dtype) yield { offset, bytes: padded(piece, at + n === count ? end - offset : piece.byteLength) };
    else {
      const made = encode(format, toFloat32(ELEMENTS[dtype].dtype, piece), 1);
      scales?.set(made.scales!, at / format.block!.size);
      const own = bytesOf(format, made.codes);
      yield { offset, bytes: padded(own, at + n === count ? end - offset : own.byteLength) };
    }
  }
  if (scales !== null) {
    const { scales: kept } = format.block!;
    yield { offset: end, bytes: padded(bytesOf(kept, kept.narrow(scales)), bytes - end) };
  }
}

function* packMatrix(
  parameter: Parameter,
  layout: MatrixLayout,
  source: SourceTensor,
  { start, count, bytes: total }: Range,
  chunkBytes: number,
): Generator<Chunk> {
  const format = FORMATS[parameter.storage];
  const { block } = format;
  const banks = placesOf(parameter.axes, layout.bank);
  const ks = placesOf(parameter.axes, layout.k);
  const ns = placesOf(parameter.axes, layout.n);
  const columns = layout.split === "n" ? ns.subarray(start, start + count) : ns;
  const ownBanks = layout.split === "bank" ? banks.subarray(start, start + count) : banks;
  const { n: n4, k: k4 } = matrixSteps(format, ks.length, columns.length);
  const rowBytes = (n4 * format.bits) / 8;
  // Rows of k per chunk: whole groups of four, so that rows that lie together stay so, and zero rows come with the last; whole blocks.
  const unit = block === null ? 4 : block.size;
  const rows = Math.min(Math.ceil(k4 / unit) * unit, Math.max(unit, Math.floor(chunkBytes / (rowBytes * unit)) * unit));
  const scales =
    block === null ? null : new Scales(block.scales, ownBanks.length, Math.ceil(ks.length / block.size), n4);
  const mover = chooseMover(parameter.storage, source, rows, n4, scales);
  for (const [b, base] of ownBanks.entries())
    for (let k = 0; k < k4; k += rows) {
      const bytes = mover(base, ks.subarray(k, Math.min(k + rows, ks.length)), columns, b, k);
      yield { offset: (b * k4 + k) * rowBytes, bytes: bytes.subarray(0, Math.min(rows, k4 - k) * rowBytes) };
    }
  if (scales !== null) {
    // From the end of the elements on: scales begin at a multiple of 16 bytes.
    const end = ownBanks.length * k4 * rowBytes;
    const bytes = new Uint8Array(total - end);
    bytes.set(scales.pack(), matrixStart(format, ownBanks.length, ks.length, columns.length) - end);
    yield { offset: end, bytes };
  }
}

/** The scales of a part, as they come: [banks, blocks, columns], which are a matrix with a row for each block. */
class Scales {
  readonly #format: Format;
  readonly #values: Float32Array;
  readonly #rows: number;
  readonly #columns: number;

  constructor(format: Format, banks: number, blocks: number, columns: number) {
    this.#format = format;
    this.#rows = matrixSteps(format, blocks, columns).k;
    this.#columns = columns;
    this.#values = new Float32Array(banks * this.#rows * columns);
  }

  /** Of the blocks from `block` on; those of padding have no room here. */
  put(bank: number, block: number, scales: Float32Array): void {
    const room = (this.#rows - block) * this.#columns;
    this.#values.set(scales.subarray(0, room), (bank * this.#rows + block) * this.#columns);
  }

  pack(): Uint8Array<ArrayBuffer> {
    const codes = this.#format.narrow(this.#values);
    return bytesOf(this.#format, interleave(this.#format, codes, this.#columns));
  }
}

/**
 * Fills the staging bytes with source elements `base + ks[k] + ns[n]` in the order of the layout, zero beyond both. They are those of this
 * bank, from this row of k on.
 */
type Mover = (base: number, ks: Float64Array, ns: Float64Array, bank: number, k: number) => Uint8Array<ArrayBuffer>;

function chooseMover(
  to: Parameter["storage"],
  { dtype, bytes }: SourceTensor,
  rows: number,
  n4: number,
  scales: Scales | null,
): Mover {
  const from = wordsOf(dtype, bytes);
  const format = FORMATS[to];
  if (to !== dtype) {
    // Another number format: gather rows as they are, then make codes of them.
    const gathered = elementBytes(dtype) === 2 ? new Uint16Array(rows * n4) : new Uint32Array(rows * n4);
    return (base, ks, ns, bank, k) => {
      gathered.fill(0, ks.length * n4);
      moveBlocks(from, base, ks, ns, gathered, (row) => row * n4, 1);
      const values = toFloat32(ELEMENTS[dtype].dtype, new Uint8Array(gathered.buffer));
      const made = encode(format, values, n4);
      if (made.scales !== null) scales?.put(bank, k / format.block!.size, made.scales);
      return bytesOf(format, interleave(format, made.codes, n4));
    };
  }
  const staging = new Uint8Array((rows * n4 * format.bits) / 8);
  const halves = new Uint16Array(staging.buffer);
  const words = new Uint32Array(staging.buffer);
  if (elementBytes(dtype) === 4)
    return (base, ks, ns) => {
      // Only the last rows leave places unwritten, besides the columns of padding, which stay zero.
      words.fill(0, ks.length * n4);
      moveBlocks(from, base, ks, ns, words, (k) => k * n4, 1);
      return staging;
    };
  const pairs = wordPairs(from);
  return (base, ks, ns) => {
    const paired = pairs === null ? null : pairRows(base, ks, ns);
    words.fill(0, (ks.length >> 1) * n4);
    if (pairs === null || paired === null)
      moveBlocks(from, base, ks, ns, halves, (k) => (k >> 1) * n4 * 2 + (k & 1), 2);
    else moveBlocks(pairs, base / 2, paired.ks, paired.ns, words, (k) => k * n4, 1);
    return staging;
  };
}

/** Codes [rows, columns] in the order of a matrix: those of rows that lie together side by side. */
function interleave(format: Format, codes: Codes, columns: number): Codes {
  const { rows } = matrixSteps(format, 0, columns);
  if (rows === 1) return codes;
  const out = codes.slice();
  for (let at = 0; at < codes.length; at += rows * columns)
    for (let r = 0; r < rows; r++)
      for (let n = 0; n < columns; n++) out[at + n * rows + r] = codes[at + r * columns + n]!;
  return out;
}

/** Codes side by side. */
function bytesOf({ bits }: Format, codes: Codes): Uint8Array<ArrayBuffer> {
  if (bits >= 8) return new Uint8Array(codes.buffer as ArrayBuffer, codes.byteOffset, codes.byteLength);
  const out = new Uint8Array(Math.ceil((codes.length * bits) / 8));
  for (let i = 0; i < codes.length; i++) out[i >> 1]! |= codes[i]! << (bits * (i & 1));
  return out;
}

/** A copy with zeros behind. */
function padded(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
}

/** Side of the square blocks in which both source and target stay within the first-level cache. */
const BLOCK = 32;

function moveBlocks(
  from: Words,
  base: number,
  ks: Float64Array,
  ns: Float64Array,
  to: Words,
  rowOf: (k: number) => number,
  step: number,
): void {
  const contiguous = step === 1 && ns.every((n, i) => n === ns[0]! + i);
  for (let k0 = 0; k0 < ks.length; k0 += BLOCK) {
    const k1 = Math.min(k0 + BLOCK, ks.length);
    if (contiguous) {
      const first = base + ns[0]!;
      for (let k = k0; k < k1; k++) to.set(from.subarray(first + ks[k]!, first + ks[k]! + ns.length), rowOf(k));
      continue;
    }
    for (let n0 = 0; n0 < ns.length; n0 += BLOCK) {
      const n1 = Math.min(n0 + BLOCK, ns.length);
      for (let k = k0; k < k1; k++) {
        const source = base + ks[k]!;
        const target = rowOf(k);
        for (let n = n0; n < n1; n++) to[target + n * step] = from[source + ns[n]!]!;
      }
    }
  }
}

/** The source as 32-bit words of two elements, where it is aligned for that. */
function wordPairs(from: Words): Uint32Array | null {
  return from.byteOffset % 4 === 0 ? new Uint32Array(from.buffer, from.byteOffset, from.length >> 1) : null;
}

/** Offsets counted in words, when each pair of rows lies in one word of the source for every column; else null. */
function pairRows(
  base: number,
  ks: Float64Array,
  ns: Float64Array,
): { readonly ks: Float64Array; readonly ns: Float64Array } | null {
  if (base % 2 !== 0 || ks.length % 2 !== 0 || !ns.every((n) => n % 2 === 0)) return null;
  const half = new Float64Array(ks.length / 2);
  for (let k = 0; k < ks.length; k += 2) {
    if (ks[k]! % 2 !== 0 || ks[k + 1] !== ks[k]! + 1) return null;
    half[k / 2] = ks[k]! / 2;
  }
  return { ks: half, ns: ns.map((n) => n / 2) };
}

function wordsOf(dtype: ElementType, bytes: Uint8Array): Words {
  // A tensor may stand at any byte of its file; typed arrays need alignment.
  const aligned = bytes.byteOffset % elementBytes(dtype) === 0 ? bytes : bytes.slice();
  return elementBytes(dtype) === 2
    ? new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1)
    : new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
}
