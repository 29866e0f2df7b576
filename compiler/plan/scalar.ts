/**
 * Scalar expressions over index names, evaluated by the host in float64. Tables of a Plan are written in them, so that
 * angles of rotary embeddings and the like do not depend on a shader's loose `sin` and `pow`.
 */

/** A number, an index name, or an operation of the graph's map ops on expressions; `["entry", i, ...list]` is a list's i-th. */
export type ScalarExpr = number | string | ScalarCall;
export interface ScalarCall extends ReadonlyArray<ScalarExpr> {
  readonly 0: string;
}

const FUNCTIONS: Readonly<Record<string, (...x: number[]) => number>> = {
  neg: (x) => -x!,
  exp: (x) => Math.exp(x!),
  log: (x) => Math.log(x!),
  sqrt: (x) => Math.sqrt(x!),
  rsqrt: (x) => 1 / Math.sqrt(x!),
  sin: (x) => Math.sin(x!),
  cos: (x) => Math.cos(x!),
  tanh: (x) => Math.tanh(x!),
  sigmoid: (x) => 1 / (1 + Math.exp(-x!)),
  abs: (x) => Math.abs(x!),
  sign: (x) => Math.sign(x!),
  floor: (x) => Math.floor(x!),
  not: (x) => (x === 0 ? 1 : 0),
  cast: (x) => x!,
  add: (a, b) => a! + b!,
  sub: (a, b) => a! - b!,
  mul: (a, b) => a! * b!,
  div: (a, b) => a! / b!,
  mod: (a, b) => a! - b! * Math.floor(a! / b!),
  pow: (a, b) => a! ** b!,
  max: (a, b) => Math.max(a!, b!),
  min: (a, b) => Math.min(a!, b!),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt: (a, b) => Number(a! < b!),
  le: (a, b) => Number(a! <= b!),
  gt: (a, b) => Number(a! > b!),
  ge: (a, b) => Number(a! >= b!),
  and: (a, b) => Number(a !== 0 && b !== 0),
  or: (a, b) => Number(a !== 0 || b !== 0),
  select: (c, a, b) => (c !== 0 ? a! : b!),
  detach: (x) => x!,
  trunc: (x) => Math.trunc(x!),
  imul: (a, b) => Math.imul(a!, b!),
  u32: (x) => x! >>> 0,
  i32: (x) => x! | 0,
  entry: (i, ...list) => list[i!]!,
};

/** True when every operation of a map op is available to tables. */
export function isScalarOp(op: string): boolean {
  return Object.hasOwn(FUNCTIONS, op);
}

/** Value of an expression with the given index values. */
export function evaluateScalar(expr: ScalarExpr, indices: Readonly<Record<string, number>>): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") return indices[expr] ?? Number.NaN;
  const f = FUNCTIONS[expr[0]];
  if (f === undefined) throw new Error(`no scalar function ${expr[0]}`);
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
  const f = FUNCTIONS[expr[0]];
  if (f === undefined) throw new Error(`no scalar function ${expr[0]}`);
  const [a, b, c, ...more] = (expr.slice(1) as readonly ScalarExpr[]).map((arg) => compileScalar(arg, names));
  if (a === undefined) return () => f();
  if (b === undefined) return (at) => f(a(at));
  if (more.length > 0) {
    const all = [a, b, c!, ...more];
    return (at) => f(...all.map((arg) => arg(at)));
  }
  return c === undefined ? (at) => f(a(at), b(at)) : (at) => f(a(at), b(at), c(at));
}
