/**
 * Sums of stored numbers, block by block: a block of float32 sums stays in the processor's first cache while each source is
 * widened and added, then it is rounded once to the type of the result. Functions of their own, since loops over typed
 * arrays compile best where nothing else happens.
 */
import type { StorageType } from "../../compiler/plan/plan.ts";
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "../checkpoint/index.ts";

/** Elements of a block: 16 KiB of sums. */
export const BLOCK = 4096;

type Floats = Float32Array;

const widened = new Float32Array(BLOCK);

/** Adds `weight` times the elements of `bytes` from element `at` on, one for each of `sum`; at most `BLOCK` of them. */
export function addBlock(dtype: StorageType, bytes: Uint8Array, at: number, weight: number, sum: Floats): void {
  addScaled(sum, valuesOf(dtype, bytes, at, sum.length), Math.fround(weight));
}

function valuesOf(dtype: StorageType, { buffer, byteOffset }: Uint8Array, at: number, length: number): Floats {
  if (dtype === "f32") return new Float32Array(buffer, byteOffset + 4 * at, length);
  const halves = new Uint16Array(buffer, byteOffset + 2 * at, length);
  return (dtype === "bf16" ? widenBf16 : widenF16)(halves, widened.subarray(0, length));
}

function addScaled(sum: Floats, values: Floats, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = Math.fround(sum[i]! + Math.fround(weight * values[i]!));
}

/** Puts a block of sums at element `at` of `out`, rounded to nearest even. */
export function storeBlock(dtype: StorageType, sum: Floats, out: Uint8Array, at: number): void {
  const { buffer, byteOffset } = out;
  if (dtype === "f32") new Float32Array(buffer, byteOffset + 4 * at, sum.length).set(sum);
  else (dtype === "bf16" ? narrowBf16 : narrowF16)(sum, new Uint16Array(buffer, byteOffset + 2 * at, sum.length));
}
