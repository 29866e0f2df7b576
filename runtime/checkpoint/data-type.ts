/**
 * The number formats a safetensors file may hold, one row each: its width, and the conversions to and from float32
 * where there are any. 8-bit floats have none on purpose: without the scales stored beside them their values mean nothing.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "../../compiler/plan/half.ts";

interface Format {
  /** Bytes per element. */
  readonly width: number;
  /** Bytes of whole elements, aligned to `width`, to float32. Integers beyond 2^24 and float64 are rounded. */
  readonly widen: ((bytes: Uint8Array) => Float32Array) | null;
  /** float32 to bytes, rounded to nearest even where the format is narrower. */
  readonly narrow: ((values: Float32Array) => Uint8Array) | null;
}

/** Named as in the header of a safetensors file. */
export type DataType = keyof typeof dataTypes;

/** Values are little-endian in the file; so is every machine that runs this. */
export const dataTypes = {
  F64: row(
    8,
    (b) => new Float32Array(view(Float64Array, b)),
    (v) => bytesOf(new Float64Array(v)),
  ),
  F32: row(4, (b) => view(Float32Array, b), bytesOf),
  F16: row(
    2,
    (b) => widenF16(view(Uint16Array, b)),
    (v) => bytesOf(narrowF16(v)),
  ),
  BF16: row(
    2,
    (b) => widenBf16(view(Uint16Array, b)),
    (v) => bytesOf(narrowBf16(v)),
  ),
  F8_E4M3: row(1),
  F8_E5M2: row(1),
  I64: row(8, (b) => widenWide(view(Uint32Array, b), view(Int32Array, b))),
  U64: row(8, (b) => widenWide(view(Uint32Array, b), view(Uint32Array, b))),
  I32: row(4, (b) => new Float32Array(view(Int32Array, b))),
  U32: row(4, (b) => new Float32Array(view(Uint32Array, b))),
  I16: row(2, (b) => new Float32Array(view(Int16Array, b))),
  U16: row(2, (b) => new Float32Array(view(Uint16Array, b))),
  I8: row(1, (b) => new Float32Array(view(Int8Array, b))),
  U8: row(1, (b) => new Float32Array(b)),
  BOOL: row(1, (b) => new Float32Array(b)),
};

export function isDataType(name: unknown): name is DataType {
  return typeof name === "string" && Object.hasOwn(dataTypes, name);
}

/**
 * float32 values of stored elements. F32 that is aligned is a view of the same memory, all else is a copy.
 * Throws `checkpoint/no-conversion` for a format without a float32 meaning.
 */
export function toFloat32(dtype: DataType, bytes: Uint8Array): Float32Array {
  const { width, widen } = dataTypes[dtype];
  if (widen === null) throw noConversion(`${dtype} values cannot be read as numbers without their scales`);
  return widen(bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes));
}

/** The bytes that store `values`; F32 is a view of the same memory. Throws `checkpoint/no-conversion` for all but floats. */
export function fromFloat32(dtype: DataType, values: Float32Array): Uint8Array {
  const { narrow } = dataTypes[dtype];
  if (narrow === null) throw noConversion(`float32 values cannot be stored as ${dtype}`);
  return narrow(values);
}

function row(width: number, widen: Format["widen"] = null, narrow: Format["narrow"] = null): Format {
  return { width, widen, narrow };
}

interface TypedArrayConstructor<A> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
}

function view<A>(constructor: TypedArrayConstructor<A>, bytes: Uint8Array): A {
  return new constructor(bytes.buffer, bytes.byteOffset, bytes.byteLength / constructor.BYTES_PER_ELEMENT);
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** 64-bit integers from their halves, so that no BigInt is made per element. `high` is signed or not, as the type is. */
function widenWide(low: Uint32Array, high: Int32Array | Uint32Array): Float32Array {
  const out = new Float32Array(low.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = high[2 * i + 1]! * 2 ** 32 + low[2 * i]!;
  return out;
}

function noConversion(message: string): Error {
  return failure("checkpoint/no-conversion", message, { help: "convert the tensor to F32, F16 or BF16 first" });
}
