/**
 * Number formats of weights on the GPU, a row each: how wide an element is, which elements share a scale, how numbers become bits and bits
 * numbers again, on the host and in WGSL. Whoever packs, loads, counts or offers weights reads the row. Where elements lie is in `layout.ts`.
 */
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "./half.ts";

/** One element each: the lowest `bits` of it. */
export type Codes = Uint8Array | Uint16Array | Uint32Array;

export interface Format {
  /** Of an element; neighbours share a word of 32, the first has its lowest bits. */
  readonly bits: 4 | 8 | 16 | 32;
  /** What elements that share a scale are; null where each stands for itself. */
  readonly block: Block | null;
  /** Codes of numbers (in a block: over its scale), rounded to nearest, and the numbers of codes. */
  readonly narrow: (values: Float32Array) => Codes;
  readonly widen: (codes: Codes) => Float32Array;
  /**
   * WGSL: the f32 of element `lane` of `words`, a u32 or a vector of them; `type` is the type of that shape over a component. Only finite
   * numbers are weights.
   */
  readonly load: (words: string, lane: number, type: (component: "u32" | "i32" | "f32") => string) => string;
  /** The largest number that it holds, and the least that it holds as exactly as larger ones. */
  readonly largest: number;
  readonly least: number;
  /** How far an element may be from its number: of the largest of its block or, without one, of itself, and not below `least`. */
  readonly error: number;
}

export interface Block {
  /** Elements: along k in a matrix, neighbours in a plain array. A multiple of four. */
  readonly size: number;
  /** What scales are kept in; they lie behind the elements, in the same layout with k over `size`. */
  readonly scales: Format;
  /** From the largest magnitude of a block. */
  readonly scaleOf: (largest: number) => number;
}

/** They need no feature and no function of their own. */
const f32: Format = {
  bits: 32,
  block: null,
  narrow: (values) => new Uint32Array(values.buffer, values.byteOffset, values.length),
  widen: (codes) => new Float32Array(codes.buffer, codes.byteOffset, codes.length),
  load: (words, _, type) => `bitcast<${type("f32")}>(${words})`,
  largest: 3.4028234663852886e38,
  least: 2 ** -126,
  error: 0,
};

const f16: Format = {
  bits: 16,
  block: null,
  narrow: (values) => narrowF16(values),
  widen: (codes) => widenF16(codes as Uint16Array),
  /**
   * By shifts and adds on whole vectors: on Mesa's software adapter this takes half the time of `unpack2x16float`, and subnormal weights
   * come out right however an adapter treats denormal f32.
   */
  load: (words, lane, type) => {
    const [u32, f32] = [type("u32"), type("f32")];
    const [magnitude, signed] =
      lane === 0
        ? [`((${words} & ${u32}(0x7fffu)) << ${u32}(13u))`, `(${words} << ${u32}(16u))`]
        : [`((${words} >> ${u32}(3u)) & ${u32}(0x0fffe000u))`, words];
    // Exponent and fraction in their f32 places; a subnormal has exponent 0, and is what 2^-14 + it exceeds 2^-14 by.
    const normal = `${magnitude} + ${u32}(0x38000000u)`;
    const small = `bitcast<${u32}>(bitcast<${f32}>(${magnitude} + ${u32}(0x38800000u)) - ${f32}(6.103515625e-5))`;
    const bits = `select(${normal}, ${small}, (${magnitude}) < ${u32}(0x00800000u))`;
    return `bitcast<${f32}>(${bits} | (${signed} & ${u32}(0x80000000u)))`;
  },
  largest: 65504,
  least: 2 ** -14,
  error: 2 ** -11,
};

const bf16: Format = {
  bits: 16,
  block: null,
  narrow: (values) => narrowBf16(values),
  widen: (codes) => widenBf16(codes as Uint16Array),
  // The upper half of an f32 is the bf16 itself.
  load: (words, lane, type) => {
    const u32 = type("u32");
    const bits = lane === 0 ? `(${words} << ${u32}(16u))` : `(${words} & ${u32}(0xffff0000u))`;
    return `bitcast<${type("f32")}>${bits}`;
  },
  largest: 3.3895313892515355e38,
  least: 2 ** -126,
  error: 2 ** -8,
};

/** 8 bits, and a scale for 32 neighbours along k. Scales of f32 hold those of any source, however small. */
const q8: Format = {
  bits: 8,
  block: { size: 32, scales: f32, scaleOf: (largest) => largest / 127 },
  narrow: (values) => Uint8Array.from(values, (x) => Math.round(x)),
  widen: (codes) => Float32Array.from(codes, (code) => (code << 24) >> 24),
  // Shifted up and down again as a signed number, which spreads its sign.
  load: (words, lane, type) => {
    const up = lane === 3 ? words : `(${words} << ${type("u32")}(${24 - 8 * lane}u))`;
    return `${type("f32")}(bitcast<${type("i32")}>(${up}) >> ${type("u32")}(24u))`;
  },
  // 127 times the scale has to be finite.
  largest: 3.4e38,
  least: 127 * 2 ** -126,
  error: (0.5 / 127) * (1 + 2 ** -20),
};

/** 4 bits, -7 to 7, and a scale for 32 neighbours along k: 5 bits each. */
const q4: Format = {
  bits: 4,
  block: { size: 32, scales: f32, scaleOf: (largest) => largest / 7 },
  narrow: (values) => Uint8Array.from(values, (x) => Math.round(x) & 15),
  widen: (codes) => Float32Array.from(codes, (code) => (code << 28) >> 28),
  load: (words, lane, type) => {
    const up = lane === 7 ? words : `(${words} << ${type("u32")}(${28 - 4 * lane}u))`;
    return `${type("f32")}(bitcast<${type("i32")}>(${up}) >> ${type("u32")}(28u))`;
  },
  largest: 3.4e38,
  least: 7 * 2 ** -126,
  error: (0.5 / 7) * (1 + 2 ** -20),
};

const rows = { f32, f16, bf16, q8, q4 };

export type WeightFormat = keyof typeof rows;

export const FORMATS: Readonly<Record<WeightFormat, Format>> = rows;

export const WEIGHT_FORMATS = Object.keys(FORMATS) as readonly WeightFormat[];
