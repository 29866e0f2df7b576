/**
 * Weights as a Plan lays them out: packs [bank][k][n] numbers into the `matrix` layout, and rounds numbers to what a
 * 16-bit storage holds, so that a CPU computation can use the same values.
 */
import type { WeightFormat } from "../../compiler/plan/format.ts";

/** 16-bit pattern of a number, rounded to nearest, ties to even. */
export function encodeHalf(storage: "f16" | "bf16", value: number): number {
  const f32 = new Float32Array([value]);
  if (storage === "f16") return new Uint16Array(new Float16Array(f32).buffer)[0] as number;
  const bits = new Uint32Array(f32.buffer)[0] as number;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

export function decodeHalf(storage: "f16" | "bf16", bits: number): number {
  if (storage === "f16") return new Float16Array(new Uint16Array([bits]).buffer)[0] as number;
  return new Float32Array(new Uint32Array([bits << 16]).buffer)[0] as number;
}

/** `value` as `storage` keeps it. */
export function roundTo(storage: WeightFormat, value: number): number {
  return storage === "f32" ? Math.fround(value) : decodeHalf(storage, encodeHalf(storage, value));
}

/** `values` [banks][k][n] in the `matrix` layout. */
export function packMatrix(
  values: ArrayLike<number>,
  banks: number,
  k: number,
  n: number,
  storage: WeightFormat,
): Float32Array | Uint32Array {
  const k4 = Math.ceil(k / 4) * 4;
  const n4 = Math.ceil(n / 4) * 4;
  const out = storage === "f32" ? new Float32Array(banks * k4 * n4) : new Uint32Array((banks * k4 * n4) / 2);
  for (let b = 0; b < banks; b++)
    for (let i = 0; i < k; i++)
      for (let j = 0; j < n; j++) {
        const value = values[(b * k + i) * n + j] as number;
        if (storage === "f32") out[(b * k4 + i) * n4 + j] = value;
        else {
          const at = (b * (k4 / 2) + (i >> 1)) * n4 + j;
          out[at] = (out[at] as number) | (encodeHalf(storage, value) << (16 * (i & 1)));
        }
      }
  return out;
}
