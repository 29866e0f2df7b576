/**
 * Sums of stored numbers, eight at a time. Loops over typed arrays run one element at a time; as vectors, a mean of bfloat16
 * is as fast as memory. `add*` widens a source, scales it and adds it to float32 sums, which stay in the processor's first cache;
 * `storeBf16` rounds sums to nearest even. Each step is rounded to float32, so the bits are those of the plain loops beside it,
 * which do what is left over and the types that have no vectors.
 */
import { elementBytes, ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";
import { fromFloat32, toFloat32 } from "../checkpoint/data-type.ts";
import { findNotFinite } from "../gpu/finite.ts";
import { compile, type FunctionSpec, instantiate, type Memory, type Module, op } from "./wasm.ts";

export interface Sums {
  /** Begins sums, at zero. */
  clear(sum: Float32Array): void;
  /** Adds `weight` times the elements of `bytes` from `at` on, one for each of `sum`. Both lie in the memory. */
  add(dtype: ElementType, bytes: Uint8Array, at: number, weight: number, sum: Float32Array): void;
  /** Puts sums at element `at` of `out`, rounded to nearest even. */
  store(dtype: ElementType, sum: Float32Array, out: Uint8Array, at: number): void;
  /** Whether no element is NaN or infinite. */
  isFinite(dtype: ElementType, bytes: Uint8Array): boolean;
}

interface Exports {
  readonly clear: (sum: number, bytes: number) => void;
  readonly addBf16: (sum: number, source: number, end: number, weight: number) => void;
  readonly addF32: (sum: number, source: number, end: number, weight: number) => void;
  readonly storeBf16: (sum: number, out: number, end: number) => void;
  readonly carry: (words: number, exponents: number, end: number, one: number) => number;
}

/** What vectors do of each type; the rest is done by plain loops. */
const VECTORS = {
  f32: { add: "addF32", store: null },
  f16: { add: null, store: null },
  bf16: { add: "addBf16", store: "storeBf16" },
} as const satisfies Record<ElementType, { readonly add: keyof Exports | null; readonly store: keyof Exports | null }>;

/** Elements that one turn of a loop takes. */
const STEP = 8;

export function openSums(memory: Memory): Sums {
  module ??= compile([clear, addBf16, addF32, storeBf16, carry]);
  const vectors = instantiate(module, memory) as Exports;
  return {
    clear: (sum) => vectors.clear(sum.byteOffset, sum.byteLength),
    add(dtype, bytes, at, weight, sum) {
      const scale = Math.fround(weight);
      const width = elementBytes(dtype);
      const first = bytes.byteOffset + at * width;
      const { add } = VECTORS[dtype];
      const count = add === null ? 0 : sum.length - (sum.length % STEP);
      if (add !== null && count > 0) vectors[add](sum.byteOffset, first, first + count * width, scale);
      if (count < sum.length) {
        const rest = sum.subarray(count);
        const stored = new Uint8Array(bytes.buffer, first + count * width, rest.length * width);
        addScaled(rest, toFloat32(ELEMENTS[dtype].dtype, stored), scale);
      }
    },
    store(dtype, sum, { buffer, byteOffset }, at) {
      const width = elementBytes(dtype);
      const first = byteOffset + width * at;
      const { store } = VECTORS[dtype];
      const count = store === null ? 0 : sum.length - (sum.length % STEP);
      if (store !== null && count > 0) vectors[store](sum.byteOffset, first, first + width * count);
      const rest = fromFloat32(ELEMENTS[dtype].dtype, sum.subarray(count));
      new Uint8Array(buffer, first + width * count, rest.byteLength).set(rest);
    },
    isFinite(dtype, bytes) {
      const { mask, one, signs } = ELEMENTS[dtype].bits;
      const whole = bytes.byteLength - (bytes.byteLength % 16);
      const end = bytes.byteOffset + whole;
      const found = whole === 0 ? 0 : vectors.carry(bytes.byteOffset, mask, end, one);
      return (found & signs) === 0 && findNotFinite(dtype, bytes.subarray(whole)) === null;
    },
  };
}

function addScaled(sum: Float32Array, values: Float32Array, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = Math.fround(sum[i]! + Math.fround(weight * values[i]!));
}

let module: Module | null = null;

/** Locals of the functions below, in this order. */
const [SUM, OTHER, END, WEIGHT, FACTOR] = [0, 1, 2, 3, 4];

/** In shared memory, typed arrays fill one element at a time. */
const clear: FunctionSpec = {
  name: "clear",
  parameters: ["i32", "i32"],
  result: null,
  locals: [],
  body: [op.get(SUM), op.i32(0), op.get(OTHER), op.fill],
};

const advance = (local: number, bytes: number) => [op.get(local), op.i32(bytes), op.add];

/** `sum += weight * value`, four elements; `value` pushes them. */
const addFour = (offset: number, value: FunctionSpec["body"]): FunctionSpec["body"] => [
  op.get(SUM),
  op.get(SUM),
  op.load(offset),
  ...value,
  op.get(FACTOR),
  op.multiplyF32,
  op.addF32,
  op.store(offset),
];

const adder = (name: string, width: number, four: (index: number) => FunctionSpec["body"]): FunctionSpec => ({
  name,
  parameters: ["i32", "i32", "i32", "f32"],
  result: null,
  locals: ["v128"],
  body: [
    op.get(WEIGHT),
    op.splatF32,
    op.set(FACTOR),
    op.loop,
    ...addFour(0, four(0)),
    ...addFour(16, four(1)),
    ...advance(SUM, 4 * STEP),
    op.set(SUM),
    ...advance(OTHER, width * STEP),
    op.tee(OTHER),
    op.get(END),
    op.less,
    op.again,
  ],
});

/** A bfloat16 is the upper half of a float32. */
const addBf16 = adder("addBf16", 2, (i) => [op.get(OTHER), op.loadHalves(8 * i), op.i32(16), op.shiftLeft]);
const addF32 = adder("addF32", 4, (i) => [op.get(OTHER), op.load(16 * i)]);

const splat = (value: number) => [op.i32(value), op.splatI32];
/** The bits of four sums. */
const BITS = 3;

/** Upper halves after rounding, of NaN with a bit that survives: as `narrowBf16`. */
const roundFour = (offset: number): FunctionSpec["body"] => [
  op.get(SUM),
  op.load(offset),
  op.set(BITS),
  // NaN
  op.get(BITS),
  op.i32(16),
  op.shiftRight,
  ...splat(0x40),
  op.orVector,
  // numbers
  op.get(BITS),
  ...splat(0x7fff),
  op.addI32,
  op.get(BITS),
  op.i32(16),
  op.shiftRight,
  ...splat(1),
  op.and,
  op.addI32,
  op.i32(16),
  op.shiftRight,
  // which
  op.get(BITS),
  ...splat(0x7fffffff),
  op.and,
  ...splat(0x7f800000),
  op.greater,
  op.select,
];

const storeBf16: FunctionSpec = {
  name: "storeBf16",
  parameters: ["i32", "i32", "i32"],
  result: null,
  locals: ["v128"],
  body: [
    op.loop,
    op.get(OTHER),
    ...roundFour(0),
    ...roundFour(16),
    op.narrow,
    op.store(0),
    ...advance(SUM, 4 * STEP),
    op.set(SUM),
    ...advance(OTHER, 2 * STEP),
    op.tee(OTHER),
    op.get(END),
    op.less,
    op.again,
  ],
};

/** The same test for numbers that are not finite as `findNotFinite`, of four words at a time. */
const carry: FunctionSpec = {
  name: "carry",
  parameters: ["i32", "i32", "i32", "i32"],
  result: "i32",
  locals: ["v128"],
  body: [
    op.loop,
    op.get(FACTOR),
    op.get(SUM),
    op.load(0),
    op.get(OTHER),
    op.splatI32,
    op.and,
    op.get(WEIGHT),
    op.splatI32,
    op.addI32,
    op.orVector,
    op.set(FACTOR),
    ...advance(SUM, 16),
    op.tee(SUM),
    op.get(END),
    op.less,
    op.again,
    ...[0, 1, 2, 3].flatMap((lane) => [op.get(FACTOR), op.lane(lane), ...(lane === 0 ? [] : [op.or])]),
  ],
};
