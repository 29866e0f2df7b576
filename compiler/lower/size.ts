/** Symbolic sizes as the plan's `Size` and as numbers. Run-time sizes are linear in one of the symbols T, Q, S, P. */
import { Dim } from "../graph/dim.ts";
import type { Node } from "../graph/node.ts";
import type { Axis } from "../graph/type.ts";
import type { Size } from "../plan/plan.ts";

const SYMBOLS = ["T", "Q", "S", "P"] as const;

/** The number of a size that does not depend on the step; throws when it does, which is a bug of the caller. */
export function fixedSize(axis: Axis): number {
  const { value } = axis.size;
  if (value === null) throw new Error(`axis ${axis.name} has size ${axis.size.key}, which is known only at run time`);
  return value;
}

export function isFixed(axis: Axis): boolean {
  return axis.size.value !== null;
}

export function sizeOf(dim: Dim): Size {
  if (dim.value !== null) return dim.value;
  const [symbol, ...more] = SYMBOLS.filter((s) => dim.symbols.includes(s));
  if (symbol === undefined || more.length > 0 || dim.symbols.length > 1)
    throw new Error(`size ${dim.key} is not known when compiling`);
  const at = (x: number): number => dim.evaluate({ [symbol]: x });
  const [start, slope] = [at(0), at(1) - at(0)];
  if (at(3) !== start + 3 * slope) throw new Error(`size ${dim.key} is not linear`);
  const scaled: Size = slope === 1 ? symbol : ["*", symbol, slope];
  return start === 0 ? scaled : ["+", scaled, start];
}

export function elementsOf(node: Node): Size {
  return sizeOf(Dim.product(node.type.axes.map((a) => a.size)));
}

export function times(a: Size, b: Size): Size {
  if (typeof a === "number" && typeof b === "number") return a * b;
  return a === 1 ? b : b === 1 ? a : ["*", a, b];
}

export function ceilDiv(a: Size, b: number): Size {
  return b === 1 ? a : typeof a === "number" ? Math.ceil(a / b) : ["ceil", a, b];
}
