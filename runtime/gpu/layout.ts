/**
 * Packs a parameter's source bytes into the layout that kernels load (`Layout` in compiler/plan), chunk by chunk, so that
 * a tensor of gigabytes needs a few megabytes of staging. Same width in and out is moved as bits: a matrix whose `k` is
 * contiguous in the source, the usual checkpoint order, is a transpose of 32-bit words even for 16-bit elements.
 */
import type { Parameter } from "../../compiler/plan/plan.ts";
import { bytesPerElement, matrixSteps, type WeightFormat } from "../../compiler/plan/format.ts";
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "../../compiler/plan/half.ts";

/** A parameter as a checkpoint holds it: little-endian, row-major over the parameter's axes. */
export interface SourceTensor {
  readonly dtype: WeightFormat;
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
  if (source.bytes.byteLength !== elements * bytesPerElement(source.dtype))
    throw new RangeError(
      `${parameter.path}: ${source.bytes.byteLength} bytes for ${elements} ${source.dtype} elements`,
    );
  const from = wordsOf(source.dtype, source.bytes);
  let end = 0;
  // A plain parameter is cut along its first axis.
  const row = parameter.axes.slice(1).reduce((n, axis) => n * axis.size, 1);
  const chunks =
    parameter.layout.kind === "plain"
      ? packPlain(parameter.storage, source.dtype, from, { start: start * row, count: count * row, bytes }, chunkBytes)
      : packMatrix(parameter, parameter.layout, { start, count }, source.dtype, from, chunkBytes);
  for (const chunk of chunks) {
    end = chunk.offset + chunk.bytes.byteLength;
    yield chunk;
  }
  if (end !== bytes) throw new RangeError(`${parameter.path}: part ${part} packs to ${end} bytes, not ${bytes}`);
}

/** Bits of 16-bit elements, or of 32-bit ones. */
type Words = Uint16Array | Uint32Array;
type Range = { readonly start: number; readonly count: number };
type MatrixLayout = Extract<Parameter["layout"], { kind: "matrix" }>;

function* packPlain(
  to: WeightFormat,
  dtype: WeightFormat,
  from: Words,
  { start, count, bytes }: Range & { readonly bytes: number },
  chunkBytes: number,
): Generator<Chunk> {
  const perChunk = Math.max(8, Math.floor(chunkBytes / 16) * 8);
  for (let at = 0; at < count; at += perChunk) {
    const n = Math.min(perChunk, count - at);
    const piece = convert(from.subarray(start + at, start + at + n), dtype, to);
    const offset = at * bytesPerElement(to);
    const padded = at + n === count ? bytes - offset : piece.byteLength;
    const out = new Uint8Array(padded);
    out.set(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    yield { offset, bytes: out };
  }
}

function* packMatrix(
  parameter: Parameter,
  layout: MatrixLayout,
  { start, count }: Range,
  dtype: WeightFormat,
  from: Words,
  chunkBytes: number,
): Generator<Chunk> {
  const strides = stridesOf(parameter);
  const banks = offsetsOf(parameter, layout.bank, strides);
  const ks = offsetsOf(parameter, layout.k, strides);
  const ns = offsetsOf(parameter, layout.n, strides);
  const columns = layout.split === "n" ? ns.subarray(start, start + count) : ns;
  const ownBanks = layout.split === "bank" ? banks.subarray(start, start + count) : banks;
  const width = bytesPerElement(parameter.storage);
  const { n: n4, k: k4 } = matrixSteps(parameter.storage, ks.length, columns.length);
  // Rows of k per chunk: whole groups of four, so that pairs of rows stay together and zero rows come with the last.
  const rows = Math.min(k4, Math.max(4, Math.floor(chunkBytes / (n4 * width * 4)) * 4));
  const mover = chooseMover(parameter.storage, dtype, from, rows, n4);
  for (let b = 0; b < ownBanks.length; b++)
    for (let k = 0; k < k4; k += rows) {
      const bytes = mover(ownBanks[b]!, ks.subarray(k, Math.min(k + rows, ks.length)), columns);
      yield { offset: (b * k4 + k) * n4 * width, bytes: bytes.subarray(0, Math.min(rows, k4 - k) * n4 * width) };
    }
}

/** Fills the staging bytes with source elements `base + ks[k] + ns[n]` in the order of the layout, zero beyond both. */
type Mover = (base: number, ks: Float64Array, ns: Float64Array) => Uint8Array<ArrayBuffer>;

function chooseMover(to: WeightFormat, dtype: WeightFormat, from: Words, rows: number, n4: number): Mover {
  const staging = new Uint8Array(rows * n4 * bytesPerElement(to));
  const halves = new Uint16Array(staging.buffer);
  const words = new Uint32Array(staging.buffer, 0, staging.byteLength >> 2);
  if (to === dtype && to === "f32")
    return (base, ks, ns) => {
      // Only the last rows leave places unwritten, besides the columns of padding, which stay zero.
      words.fill(0, ks.length * n4);
      moveBlocks(from, base, ks, ns, words, (k) => k * n4, 1);
      return staging;
    };
  if (to === dtype) {
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
  // Another number format: gather rows as they are, convert them, and pair them where the target is 16-bit.
  const gathered = bytesPerElement(dtype) === 2 ? new Uint16Array(rows * n4) : new Uint32Array(rows * n4);
  return (base, ks, ns) => {
    gathered.fill(0, ks.length * n4);
    moveBlocks(from, base, ks, ns, gathered, (k) => k * n4, 1);
    const converted = convert(gathered, dtype, to);
    if (to === "f32") words.set(converted);
    else
      for (let k = 0; k < rows; k++)
        for (let n = 0; n < n4; n++) halves[((k >> 1) * n4 + n) * 2 + (k & 1)] = converted[k * n4 + n]!;
    return staging;
  };
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

/** Source offsets of every index of a group of axes, the last one fastest. */
function offsetsOf(parameter: Parameter, names: readonly string[], strides: ReadonlyMap<string, number>): Float64Array {
  let offsets = new Float64Array(1);
  for (const name of names) {
    const { size } = parameter.axes.find((axis) => axis.name === name)!;
    const stride = strides.get(name)!;
    const next = new Float64Array(offsets.length * size);
    for (let i = 0; i < next.length; i++) next[i] = offsets[Math.floor(i / size)]! + (i % size) * stride;
    offsets = next;
  }
  return offsets;
}

function stridesOf(parameter: Parameter): ReadonlyMap<string, number> {
  const strides = new Map<string, number>();
  let stride = 1;
  for (const axis of [...parameter.axes].reverse()) {
    strides.set(axis.name, stride);
    stride *= axis.size;
  }
  return strides;
}

/** The same values in another format, rounded to nearest even; the same bits, as a view, where nothing changes. */
function convert(bits: Words, from: WeightFormat, to: WeightFormat): Words {
  if (from === to) return bits;
  const floats = widen(bits, from);
  switch (to) {
    case "f32":
      return new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
    case "f16":
      return narrowF16(floats);
    case "bf16":
      return narrowBf16(floats);
  }
}

function widen(bits: Words, from: WeightFormat): Float32Array {
  switch (from) {
    case "f32":
      return new Float32Array(bits.buffer, bits.byteOffset, bits.length);
    case "f16":
      return widenF16(bits as Uint16Array);
    case "bf16":
      return widenBf16(bits as Uint16Array);
  }
}

function wordsOf(dtype: WeightFormat, bytes: Uint8Array): Words {
  // A tensor may stand at any byte of its file; typed arrays need alignment.
  const aligned = bytes.byteOffset % bytesPerElement(dtype) === 0 ? bytes : bytes.slice();
  return bytesPerElement(dtype) === 2
    ? new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1)
    : new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
}
