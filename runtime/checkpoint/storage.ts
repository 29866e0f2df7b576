/** The types that parameters are kept in on a device, and what safetensors calls them. */
import { STORAGE_TYPES, type StorageType } from "../../compiler/plan/format.ts";
import { oneOf } from "../../grammar/option.ts";
import type { DataType } from "./data-type.ts";

/** Names in a safetensors file. */
export const DATA_TYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Record<StorageType, DataType>;

/** By those names. */
export const STORAGE: Readonly<Record<string, StorageType>> = Object.fromEntries(
  STORAGE_TYPES.map((type) => [DATA_TYPES[type], type]),
);

/** Of options that say how a checkpoint is written. */
export const STORING_RULES = { dtype: oneOf(...STORAGE_TYPES), layout: oneOf("fused", "per-expert") };

/** The one type among them; f32, which holds all, where they differ. */
export function commonType(types: Iterable<StorageType>): StorageType {
  const all = new Set(types);
  return all.size === 1 ? [...all][0]! : "f32";
}
