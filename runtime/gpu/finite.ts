/**
 * Finds NaN and infinity among stored numbers, before a device computes with them or after: shaders may assume that there are none,
 * so one such weight would give results that mean nothing, and say nothing. A number is not finite when all bits of its
 * exponent are set. Adding one at the exponent's lowest bit then carries into the (masked) sign: three operations per
 * 32-bit word test one f32 or two 16-bit elements. A larger number to add finds exponents from a smaller one on.
 */
import { elementBytes, ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";

/** The first element that is NaN or infinite, counted from 0; null when all are finite. `bytes` hold whole elements. */
export function findNotFinite(dtype: ElementType, bytes: Uint8Array): number | null {
  return find(dtype, bytes, ELEMENTS[dtype].bits.one);
}

/** The first element that is not finite, or of a magnitude from 2^60 on; in f16 there is none of the latter. */
export function findExtreme(dtype: ElementType, bytes: Uint8Array): number | null {
  return find(dtype, bytes, ELEMENTS[dtype].bits.extreme);
}

function find(dtype: ElementType, bytes: Uint8Array, add: number): number | null {
  const words = wordsOf(bytes);
  const { mask, signs } = ELEMENTS[dtype].bits;
  let found = 0;
  for (let i = 0; i < words.length; i++) found |= (words[i]! & mask) + add;
  if ((found & signs) === 0) return null;
  const word = words.findIndex((bits) => (((bits & mask) + add) & signs) !== 0);
  if (elementBytes(dtype) === 4) return word;
  const inLower = ((words[word]! & mask) + add) & 0x8000;
  return 2 * word + (inLower === 0 ? 1 : 0);
}

/** A copy where the bytes are not aligned or not whole words; zeros at the end are finite. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const isWhole = bytes.byteOffset % 4 === 0 && bytes.byteLength % 4 === 0;
  const { buffer, byteOffset, byteLength } = isWhole ? bytes : padWords(bytes);
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

function padWords(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}
