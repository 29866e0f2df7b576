/** The types that parameters are kept in on a device, and what safetensors calls them. */
import type { StorageType } from "../../compiler/plan/plan.ts";
import { oneOf } from "../../grammar/option.ts";
import type { DataType } from "./data-type.ts";

/** Names in a safetensors file. */
export const DATA_TYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Record<StorageType, DataType>;

export const STORAGE: Readonly<Record<string, StorageType>> = { F32: "f32", F16: "f16", BF16: "bf16" };
export const STORAGE_BYTES: Readonly<Record<StorageType, number>> = { f32: 4, f16: 2, bf16: 2 };

/** Of options that say how a checkpoint is written. */
export const STORING_RULES = { dtype: oneOf("f32", "f16", "bf16"), layout: oneOf("fused", "per-expert") };

/** The one type among them; f32, which holds all, where they differ. */
export function commonType(types: Iterable<StorageType>): StorageType {
  const all = new Set(types);
  return all.size === 1 ? [...all][0]! : "f32";
}
