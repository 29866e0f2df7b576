/** Symbolic sizes as the plan's `Size` and as numbers. Run-time sizes are made of `SIZE_SYMBOLS`. */
import { Dim, type Term } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import type { StateRows } from "../../ops/define.ts";
import { asFraction } from "../../ops/size-text.ts";
import { isSizeSymbol, type Size } from "../../plan/plan.ts";

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
  // What does not depend on the step comes last.
  const terms = dim.terms.toSorted((a, b) => b.powers.size - a.powers.size).map((term) => termSize(term, dim));
  return terms.reduce((sum, term) => ["+", sum, term]);
}

function termSize({ num, den, powers }: Term, dim: Dim): Size {
  let product: Size = 1;
  for (const [symbol, power] of powers) {
    if (power < 1) throw new Error(`size ${dim.key} is not known when compiling`);
    for (let i = 0; i < power; i++) product = times(product, symbolSize(symbol, dim));
  }
  return ceilDiv(times(product, num), den);
}

function symbolSize(symbol: string, dim: Dim): Size {
  if (isSizeSymbol(symbol)) return symbol;
  const rounded = Dim.roundedSymbol(symbol);
  if (rounded === null) throw new Error(`size ${dim.key} is not known when compiling`);
  const { whole, over } = asFraction(rounded.of);
  return ceilDiv(rounded.rounding === "ceil" ? sizeOf(whole) : ["-", sizeOf(whole), over - 1], over);
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

/**
 * Rows that a state holds for one sequence. A step writes its rows before it reads: beyond what is looked back at, a ring holds those
 * of the largest step; all of them where steps hold whole sequences (null).
 */
export function rowsHeld(rows: StateRows, stepTokens: number | null): Size {
  if (rows.kind === "last") return rows.count;
  return rows.reach === null || stepTokens === null ? "P" : ["min", "P", rows.reach + stepTokens];
}
