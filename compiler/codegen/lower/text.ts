/** Small pieces of WGSL: literals, types, vectors, and how values that are no memory type are kept. */
import type { DType } from "../../graph/type.ts";
import type { Run } from "./indexing.ts";

const LARGEST = 3.4028234663852886e38;

export function literal(value: number, dtype: DType): string {
  switch (dtype) {
    case "f32":
      return `${Math.min(Math.max(value, -LARGEST), LARGEST)}f`;
    case "u32":
      return `${Math.min(Math.max(value, 0), 0xffffffff)}u`;
    case "i32":
      return value <= -0x80000000 ? "i32(-2147483647 - 1)" : `${Math.min(value, 0x7fffffff)}i`;
    case "bool":
      return value === 0 ? "false" : "true";
  }
}

export function typeText(dtype: DType, run: Run): string {
  return run === null ? dtype : `vec4<${dtype}>`;
}

export function splat(x: string, dtype: DType): string {
  return `vec4<${dtype}>(${x})`;
}

/** What memory holds: there is no bool. */
export function memoryType(dtype: DType): "f32" | "u32" | "i32" {
  return dtype === "bool" ? "u32" : dtype;
}

export function fromMemory(x: string, dtype: DType, run: Run): string {
  return dtype === "bool" ? `(${x} != ${run === null ? "0u" : "vec4<u32>()"})` : x;
}

export function toMemory(x: string, dtype: DType, run: Run): string {
  return dtype === "bool" ? `${typeText("u32", run)}(${x})` : x;
}

export const FIELDS = ["x", "y", "z", "w"] as const;

/** A name that WGSL accepts from any text. */
export function identifier(text: string): string {
  return text.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_+|_+$/g, "");
}
