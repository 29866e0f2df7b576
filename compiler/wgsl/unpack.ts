/**
 * WGSL expressions that widen packed 16-bit weights to f32. Both take a `vec4<u32>` of four columns that holds the even
 * row of k in its low halves and the odd row in its high halves (see `Layout` in `plan.ts`). No feature is needed; f16 calls
 * `halvesFunction`, which the module must hold.
 */
import type { StorageType } from "../plan/plan.ts";

export type PackedType = Exclude<StorageType, "f32">;

/** The even and the odd row of `words`, a name of type vec4<u32>, each as a vec4<f32>. */
export function unpackRows(storage: PackedType, words: string): { readonly even: string; readonly odd: string } {
  switch (storage) {
    // The upper half of an f32 is the bf16 itself.
    case "bf16":
      return {
        even: `bitcast<vec4<f32>>(${words} << vec4<u32>(16u))`,
        odd: `bitcast<vec4<f32>>(${words} & vec4<u32>(0xffff0000u))`,
      };
    case "f16":
      return { even: `halves(${words} & vec4<u32>(0xffffu))`, odd: `halves(${words} >> vec4<u32>(16u))` };
  }
}

/**
 * `halves(h)`: f16 bit patterns in the low halves to f32, subnormals exactly. Shifts and adds on whole vectors: on Mesa's
 * software adapter this takes half the time of `unpack2x16float`, and it does not depend on how denormals are treated.
 */
export const halvesFunction = `fn halves(h: vec4<u32>) -> vec4<f32> {
  let magnitude = (h & vec4<u32>(0x7fffu)) << vec4<u32>(13u);
  let normal = magnitude + vec4<u32>(0x38000000u);
  let small = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude + vec4<u32>(0x38800000u)) - vec4<f32>(6.103515625e-5));
  let bits = select(normal, small, magnitude < vec4<u32>(0x00800000u));
  return bitcast<vec4<f32>>(bits | ((h & vec4<u32>(0x8000u)) << vec4<u32>(16u)));
}`;

/** Element `i` of a `plain` 16-bit array: `word` is the u32 at i >> 1. */
export function unpackElement(storage: PackedType, word: string, i: string): string {
  switch (storage) {
    case "bf16":
      return `bitcast<f32>((${word} >> (16u * (${i} & 1u))) << 16u)`;
    case "f16":
      return `unpack2x16float(${word})[${i} & 1u]`;
  }
}
