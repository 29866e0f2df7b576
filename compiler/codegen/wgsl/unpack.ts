/**
 * WGSL expressions that widen packed 16-bit weights to f32: a `vec4<u32>` of four columns that holds the even row of k in
 * its low halves and the odd row in its high halves (see `Layout` in `plan.ts`), or one element of a `plain` array. They
 * need no feature and no helper. f16 is widened by shifts and adds on whole vectors: on Mesa's software adapter this takes
 * half the time of `unpack2x16float`, and subnormal weights come out right however an adapter treats denormal f32.
 * Infinities and NaN are not weights and come out as large numbers.
 */
import type { WeightFormat } from "../../plan/format.ts";

export type PackedType = Exclude<WeightFormat, "f32">;

/** The even and the odd row of `words`, a name of type vec4<u32>, each as a vec4<f32>. */
export function unpackRows(storage: PackedType, words: string): { readonly even: string; readonly odd: string } {
  const { low, high } = unpackHalves(storage, words, (x) => `vec4<${x}>`);
  return { even: low, odd: high };
}

/** Element `i` of a `plain` 16-bit array: `word` is the u32 at i >> 1. */
export function unpackElement(storage: PackedType, word: string, i: string): string {
  return unpackHalves(storage, `(${word} >> (16u * ((${i}) & 1u)))`, (x) => x).low;
}

/** Both halves of `words`; `type` makes the vector (or scalar) type of a component type. */
function unpackHalves(
  storage: PackedType,
  words: string,
  type: (component: "u32" | "f32") => string,
): { readonly low: string; readonly high: string } {
  const u32 = type("u32");
  const f32 = type("f32");
  const lowSigned = `(${words} << ${u32}(16u))`;
  const highSigned = `(${words} & ${u32}(0xffff0000u))`;
  switch (storage) {
    // The upper half of an f32 is the bf16 itself.
    case "bf16":
      return { low: `bitcast<${f32}>${lowSigned}`, high: `bitcast<${f32}>${highSigned}` };
    case "f16": {
      // Exponent and fraction in their f32 places; a subnormal has exponent 0, and is what 2^-14 + it exceeds 2^-14 by.
      const widen = (magnitude: string, signed: string): string => {
        const normal = `${magnitude} + ${u32}(0x38000000u)`;
        const small = `bitcast<${u32}>(bitcast<${f32}>(${magnitude} + ${u32}(0x38800000u)) - ${f32}(6.103515625e-5))`;
        const bits = `select(${normal}, ${small}, (${magnitude}) < ${u32}(0x00800000u))`;
        return `bitcast<${f32}>(${bits} | (${signed} & ${u32}(0x80000000u)))`;
      };
      return {
        low: widen(`((${words} & ${u32}(0x7fffu)) << ${u32}(13u))`, lowSigned),
        high: widen(`((${words} >> ${u32}(3u)) & ${u32}(0x0fffe000u))`, words),
      };
    }
  }
}
