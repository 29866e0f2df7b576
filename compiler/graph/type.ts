/**
 * Tensor types: a compute dtype and an ordered list of named axes. Broadcasting is by name only; the order matters for
 * storage and printing, never for meaning. `origin` says where a size was written and takes no part in equality.
 */
import type { Span } from "../../grammar/span.ts";
import type { Dim } from "./dim.ts";

/** What values are computed in. How a parameter is stored (bf16, f16, ...) belongs to the plan. */
export type DType = "f32" | "u32" | "i32" | "bool";

export interface Axis {
  readonly name: string;
  readonly size: Dim;
  readonly origin: Span | null;
}

export interface TensorType {
  readonly dtype: DType;
  readonly axes: readonly Axis[];
}

/** The label of the time axis: the one axis whose size is known only when the model runs. */
export const TIME = "T";

/** Labels of axes that passes introduce: no program can write them, so that they meet none of its own. */
export const OWN = { wanted: "@wanted", sequence: "@sequence", position: "@P" } as const;

/** The label that primes make another one of: `D` for `D'`. */
export function withoutPrimes(label: string): string {
  return label.replace(/'+$/, "");
}

export function formatType(type: TensorType): string {
  return `${type.dtype}[${type.axes.map(formatAxis).join(", ")}]`;
}

/** `D=48`, or just `T` where label and size are the same symbol. */
export function formatAxis(axis: Axis): string {
  return axis.size.key === axis.name ? axis.name : `${axis.name}=${axis.size.key}`;
}

export function sameType(a: TensorType, b: TensorType): boolean {
  return formatType(a) === formatType(b);
}

export function findAxis(type: TensorType, name: string): Axis | null {
  return type.axes.find((a) => a.name === name) ?? null;
}

export function hasAxis(type: TensorType, name: string): boolean {
  return type.axes.some((a) => a.name === name);
}
