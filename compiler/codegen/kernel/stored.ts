/**
 * Reading and writing memory, one element or four neighbours at a time, whatever it keeps its elements as: the one place that knows. Numbers
 * of 16 bits lie two to a word, the first in the lower half. One alone is put in its half by two atomic operations, since a neighbour may
 * be written at the same time. `shader-f16` is not needed.
 */
import type { Binding } from "../../plan/plan.ts";
import type { StoreType } from "../../plan/store.ts";
import type { KernelWriter } from "./writer.ts";

/** What memory holds. */
export type MemoryType = StoreType | "u32" | "i32";

/** WGSL for the value at a unit: an element, or four. */
export function readerOf(
  w: KernelWriter,
  binding: Binding,
  type: MemoryType,
  width: 1 | 4,
  access: "read" | "write" = "read",
): (unit: string) => string {
  if (type !== "f16") {
    const name = w.bind(binding, `array<${vectorOf(type, width)}>`, access);
    return (unit) => `${name}[${unit}]`;
  }
  if (width === 1) {
    const name = w.bind(binding, "array<u32>", access);
    return (unit) => `unpack2x16float(${name}[(${unit}) >> 1u])[(${unit}) & 1u]`;
  }
  const name = w.bind(binding, "array<vec2<u32>>", access);
  w.global(
    "from_halves",
    "fn from_halves(w: vec2<u32>) -> vec4<f32> {\n  return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));\n}",
  );
  return (unit) => `from_halves(${name}[${unit}])`;
}

/** A statement that puts a value at a unit. */
export function writerOf(
  w: KernelWriter,
  binding: Binding,
  type: MemoryType,
  width: 1 | 4,
): (unit: string, value: string) => string {
  if (type !== "f16") {
    const name = w.bind(binding, `array<${vectorOf(type, width)}>`, "write");
    return (unit, value) => `${name}[${unit}] = ${value};`;
  }
  // What has no room gets all bits of an exponent and one of the fraction: NaN.
  w.global(
    "to_halves",
    `fn to_halves(v: vec4<f32>) -> vec2<u32> {
  let beyond = select(vec4<u32>(0x7e00u), vec4<u32>(), abs(v) <= vec4<f32>(65504.0));
  return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)) | beyond.xz | (beyond.yw << vec2<u32>(16u));
}`,
  );
  if (width === 4) {
    const name = w.bind(binding, "array<vec2<u32>>", "write");
    return (unit, value) => `${name}[${unit}] = to_halves(${value});`;
  }
  const name = w.bind(binding, "array<atomic<u32>>", "write");
  return (unit, value) => {
    const at = `(${unit}) >> 1u`;
    const shift = `(16u * ((${unit}) & 1u))`;
    const bits = `(to_halves(vec4<f32>(${value}, 0.0, 0.0, 0.0)).x & 0xffffu)`;
    return `atomicAnd(&${name}[${at}], 0xffff0000u >> ${shift}); atomicOr(&${name}[${at}], ${bits} << ${shift});`;
  };
}

function vectorOf(type: "f32" | "u32" | "i32", width: 1 | 4): string {
  return width === 1 ? type : `vec4<${type}>`;
}
