/**
 * Types that elements of parameters are given in, a row each: what checkpoints are read as, summed in and written as. What they lie in on a
 * GPU is a weight format (`compiler/plan/format.ts`); the format of the same name keeps an element as it is.
 */
import type { WeightFormat } from "../../compiler/plan/format.ts";
import { oneOf } from "../../grammar/option.ts";
import { type DataType, dataTypes } from "./data-type.ts";

interface Element {
  /** Name in a safetensors file. */
  readonly dtype: DataType;
  /** Name in a config.json. */
  readonly torch: string;
  /** The largest finite number. */
  readonly largest: number;
  /** Of a word of 32 bits: the exponents in it, their lowest bits, the signs, and what carries into these from 2^60 on, whose square passes f32. */
  readonly bits: { readonly mask: number; readonly one: number; readonly extreme: number; readonly signs: number };
}

export const ELEMENTS = {
  f32: {
    dtype: "F32",
    torch: "float32",
    largest: 3.4028234663852886e38,
    bits: { mask: 0x7f800000, one: 0x00800000, extreme: 0x22800000, signs: 0x80000000 },
  },
  // Its largest number is below 2^60: only what is not finite carries.
  f16: {
    dtype: "F16",
    torch: "float16",
    largest: 65504,
    bits: { mask: 0x7c007c00, one: 0x04000400, extreme: 0x04000400, signs: 0x80008000 },
  },
  bf16: {
    dtype: "BF16",
    torch: "bfloat16",
    largest: 3.3895313892515355e38,
    bits: { mask: 0x7f807f80, one: 0x00800080, extreme: 0x22802280, signs: 0x80008000 },
  },
} as const satisfies Readonly<Partial<Record<WeightFormat, Element>>>;

export type ElementType = keyof typeof ELEMENTS;

export const ELEMENT_TYPES = Object.keys(ELEMENTS) as readonly ElementType[];

export function elementBytes(type: ElementType): number {
  return dataTypes[ELEMENTS[type].dtype].width;
}

/** The type of a tensor's elements; null where they are read as another. */
export function elementTypeOf(dtype: DataType): ElementType | null {
  return ELEMENT_TYPES.find((type) => ELEMENTS[type].dtype === dtype) ?? null;
}

/** Of options that say how a checkpoint is written. */
export const STORING_RULES = { dtype: oneOf(...ELEMENT_TYPES), layout: oneOf("fused", "per-expert") };

/** The one type among them; f32, which holds all, where they differ. */
export function commonType(types: Iterable<ElementType>): ElementType {
  const all = new Set(types);
  return all.size === 1 ? [...all][0]! : "f32";
}
