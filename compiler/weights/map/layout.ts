/**
 * Layouts of tensors that maps write as `as [G*R*C, D]`: factors of axes, and where in the tensor each part lies that several parameters
 * share, as one of so many (`2*F`) or as one of a sum (`F + G`).
 */
import type { Expr } from "../../../grammar/ast.ts";
import type { Env } from "../../language/interpret/context.ts";
import { evaluate } from "../../language/interpret/context.ts";

export interface Factor {
  readonly label: string | null;
  readonly size: number;
}

/** A factor of a layout, or `A + B`: one part for each parameter of the rule. */
export type Item = Factor | { readonly parts: readonly (readonly Factor[])[]; readonly size: number };

export const product = (items: readonly { readonly size: number }[]): number => items.reduce((n, f) => n * f.size, 1);

/** The factors of one part of a layout, of which `shared` tells the parts apart, with the steps between their elements, and where the part begins. */
export function layoutOfPart(
  items: readonly Item[],
  shared: Item | null,
  part: number,
): { readonly factors: readonly Factor[]; readonly strides: readonly number[]; readonly source: number } {
  const factors: Factor[] = [];
  const strides: number[] = [];
  let source = 0;
  for (const [i, item] of items.entries()) {
    const step = product(items.slice(i + 1));
    const own = "parts" in item ? (item.parts[part] ?? []) : [item];
    if ("parts" in item) source += step * item.parts.slice(0, part).reduce((n, p) => n + product(p), 0);
    else if (item === shared) source += step * part;
    for (const [j, factor] of own.entries()) {
      factors.push(factor);
      strides.push(step * product(own.slice(j + 1)));
    }
  }
  return { factors, strides, source };
}

/** `G*R*C` as factors, numbers without a label; `G*(A + B)` has a sum among them. */
export function itemsOf(expr: Expr, env: Env): readonly Item[] {
  if (expr.kind === "binary" && expr.op === "*") return [...itemsOf(expr.left, env), ...itemsOf(expr.right, env)];
  if (expr.kind === "binary" && expr.op === "+") {
    const parts = summandsOf(expr).map((summand) => factorsOf(summand, env));
    return [{ parts, size: parts.reduce((n, p) => n + product(p), 0) }];
  }
  return factorsOf(expr, env);
}

function summandsOf(expr: Expr): readonly Expr[] {
  return expr.kind === "binary" && expr.op === "+" ? [...summandsOf(expr.left), ...summandsOf(expr.right)] : [expr];
}

function factorsOf(expr: Expr, env: Env): readonly Factor[] {
  if (expr.kind === "binary" && expr.op === "*") return [...factorsOf(expr.left, env), ...factorsOf(expr.right, env)];
  const value = evaluate(env, expr);
  if (expr.kind === "number") return [{ label: null, size: expr.value }];
  const size = value.kind === "axis" ? value.size.value : null;
  if (size === null) {
    if (value.kind !== "error")
      env.ctx.bag.error("map/layout", "a layout is made of the model's sizes", [
        { span: expr.span, text: "not a size" },
      ]);
    return [];
  }
  return [{ label: expr.kind === "name" ? expr.name.text : null, size }];
}
