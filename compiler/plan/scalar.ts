/**
 * Scalar expressions over index names, evaluated by the host in float64. Tables of a Plan are written in them, so that
 * angles of rotary embeddings and the like do not depend on a shader's loose `sin` and `pow`.
 */
import { scalarFunction } from "../graph/scalar.ts";

/** A number, an index name, or an operation of the graph's map ops on expressions; `["entry", i, ...list]` is a list's i-th. */
export type ScalarExpr = number | string | ScalarCall;
export interface ScalarCall extends ReadonlyArray<ScalarExpr> {
  readonly 0: string;
}

/** What tables have beside the scalar functions: choice, conversion, whole numbers in the host's floats, lists. */
const OTHERS: Readonly<Record<string, (...x: number[]) => number>> = {
  cast: (x) => x!,
  select: (c, a, b) => (c !== 0 ? a! : b!),
  trunc: (x) => Math.trunc(x!),
  imul: (a, b) => Math.imul(a!, b!),
  u32: (x) => x! >>> 0,
  i32: (x) => x! | 0,
  entry: (i, ...list) => list[i!]!,
};

function functionOf(name: string): ((...x: number[]) => number) | null {
  const fn = scalarFunction(name);
  if (fn === null) return Object.hasOwn(OTHERS, name) ? OTHERS[name]! : null;
  return fn.bits === true ? null : (a, b) => fn.value(a!, b!, "f32");
}

/** True when every operation of a map op is available to tables. */
export function isScalarOp(op: string): boolean {
  return functionOf(op) !== null;
}

/** Value of an expression with the given index values. */
export function evaluateScalar(expr: ScalarExpr, indices: Readonly<Record<string, number>>): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") return indices[expr] ?? Number.NaN;
  const f = functionOf(expr[0]);
  if (f === null) throw new Error(`no scalar function ${expr[0]}`);
  return f(...(expr.slice(1) as readonly ScalarExpr[]).map((arg) => evaluateScalar(arg, indices)));
}

/**
 * The same as a function of the index values in the order of `names`, for the many elements of a table: several times
 * faster than walking the expression for each.
 */
export function compileScalar(expr: ScalarExpr, names: readonly string[]): (at: ArrayLike<number>) => number {
  if (typeof expr === "number") return () => expr;
  if (typeof expr === "string") {
    const place = names.indexOf(expr);
    return place < 0 ? () => Number.NaN : (at) => at[place]!;
  }
  const f = functionOf(expr[0]);
  if (f === null) throw new Error(`no scalar function ${expr[0]}`);
  const [a, b, c, ...more] = (expr.slice(1) as readonly ScalarExpr[]).map((arg) => compileScalar(arg, names));
  if (a === undefined) return () => f();
  if (b === undefined) return (at) => f(a(at));
  if (more.length > 0) {
    const all = [a, b, c!, ...more];
    return (at) => f(...all.map((arg) => arg(at)));
  }
  return c === undefined ? (at) => f(a(at), b(at)) : (at) => f(a(at), b(at), c(at));
}

/** The names in an expression. */
export function namesIn(expr: ScalarExpr): readonly string[] {
  if (typeof expr === "number") return [];
  return typeof expr === "string" ? [expr] : (expr.slice(1) as readonly ScalarExpr[]).flatMap(namesIn);
}
