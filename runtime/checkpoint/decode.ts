/**
 * Values of tensors that are stored in an encoding, range by range: what is read and held is the range's blocks and scales,
 * never the whole tensor. The encodings themselves are described in `compiler/weights/map/encoding.ts`.
 *
 * A scale that is no number (E8M0 255, or NaN itself) makes its values NaN, which loading refuses.
 */
import { FP8_BLOCK, MX_BLOCK, type EncodingName } from "../../compiler/index.ts";
import { type DataType, toFloat32 } from "./data-type.ts";
import { narrowBf16 } from "../../compiler/plan/half.ts";

/** A part of the tensor: elements `start ..< start + count`. */
export interface EncodedPart {
  readonly dtype: DataType;
  /** As bytes of `dtype`. */
  readonly read: (start: number, count: number) => Promise<Uint8Array>;
}

/** bf16 bit patterns of the values `start ..< start + out.length` of a tensor of this shape, row-major. */
export type Decoder = (
  parts: readonly EncodedPart[],
  shape: readonly number[],
  start: number,
  out: Uint16Array<ArrayBuffer>,
) => Promise<void>;

export const decoders = { mxfp4: decodeMxfp4, fp8: decodeFp8 } as const satisfies Record<EncodingName, Decoder>;

/** Every block is whole within its row, so that the n-th 32 values are the n-th block and scale. */
async function decodeMxfp4(
  [blocks, scales]: readonly EncodedPart[],
  _shape: readonly number[],
  start: number,
  out: Uint16Array<ArrayBuffer>,
): Promise<void> {
  const first = Math.floor(start / MX_BLOCK);
  const count = Math.ceil((start + out.length) / MX_BLOCK) - first;
  const bytes = MX_BLOCK / 2;
  const [codes, exponents] = await Promise.all([
    blocks!.read(first * bytes, count * bytes),
    scales!.read(first, count),
  ]);
  const table = mxTable();
  const skip = start - first * MX_BLOCK;
  for (let i = 0; i < out.length;) {
    let at = i + skip;
    const block = Math.floor(at / MX_BLOCK);
    const row = exponents[block]! * 16;
    const end = Math.min(out.length, (block + 1) * MX_BLOCK - skip);
    for (; i < end; i++, at++) {
      const byte = codes[at >> 1]!;
      out[i] = table[row + ((at & 1) === 0 ? byte & 15 : byte >> 4)]!;
    }
  }
}

let mxBits: Uint16Array | null = null;

/** bf16 of every scale and code: 256 times 16. Exact, subnormals included. */
function mxTable(): Uint16Array {
  if (mxBits === null) {
    const magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
    const values = Float32Array.from({ length: 256 * 16 }, (_, i) => {
      const scale = i >> 4 === 255 ? Number.NaN : 2 ** ((i >> 4) - 127);
      return (i & 8 ? -1 : 1) * magnitudes[i & 7]! * scale;
    });
    mxBits = narrowBf16(values);
  }
  return mxBits;
}

async function decodeFp8(
  [values, scales]: readonly EncodedPart[],
  shape: readonly number[],
  start: number,
  out: Uint16Array<ArrayBuffer>,
): Promise<void> {
  const columns = shape[1]!;
  const perRow = Math.ceil(columns / FP8_BLOCK);
  const band = Math.floor(start / columns / FP8_BLOCK);
  const end = Math.floor((start + out.length - 1) / columns / FP8_BLOCK) + 1;
  const [codes, stored] = await Promise.all([
    values!.read(start, out.length),
    scales!.read(band * perRow, (end - band) * perRow),
  ]);
  const factors = toFloat32(scales!.dtype, stored);
  const table = e4m3Table();
  const wide = new Float32Array(out.length);
  for (let i = 0; i < wide.length;) {
    const row = Math.floor((start + i) / columns);
    const column = start + i - row * columns;
    const block = Math.floor(column / FP8_BLOCK);
    const factor = factors[(Math.floor(row / FP8_BLOCK) - band) * perRow + block]!;
    const to = Math.min(wide.length, i + Math.min(columns, (block + 1) * FP8_BLOCK) - column);
    for (; i < to; i++) wide[i] = table[codes[i]!]! * factor;
  }
  narrowBf16(wide, out);
}

let e4m3: Float32Array | null = null;

/** E4M3 without infinities: exponent bias 7, all ones is NaN. Micikevicius et al. (2022), arXiv 2209.05433. */
function e4m3Table(): Float32Array {
  e4m3 ??= Float32Array.from({ length: 256 }, (_, code) => {
    const [exponent, fraction] = [(code >> 3) & 15, code & 7];
    const sign = code & 128 ? -1 : 1;
    if ((code & 127) === 127) return Number.NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10));
  });
  return e4m3;
}
