/**
 * Functions from one or two numbers to one, each written once: the float64 meaning of the op of that name, what a table of a plan or a number
 * that is known at compile time is computed with, and whether `.moe` calls it by name. A new one is a line here and its row in
 * `compiler/ops/elementwise.ts`, with gradient and WGSL.
 */
import type { DType } from "./type.ts";

export interface ScalarFunction {
  readonly operands: 1 | 2;
  /** Integers wrap where their 32 bits end; the dtype is that of the result. */
  readonly value: (a: number, b: number, dtype: DType) => number;
  /** `.moe` has it under its name, with this sentence of what it gives; others are operators there, or what passes make. */
  readonly called?: string;
  /** WGSL's is so inexact that it matters, for angles above all. */
  readonly loose?: true;
  /** Of whole bits: the host computes in floats, where it is another function. */
  readonly bits?: true;
}

export const scalars = {
  neg: { operands: 1, value: (x, _, dtype) => wrap(-x, dtype) },
  exp: { operands: 1, value: Math.exp, called: "e to the power of x", loose: true },
  log: { operands: 1, value: Math.log, called: "the natural logarithm", loose: true },
  sqrt: { operands: 1, value: Math.sqrt, called: "the square root" },
  rsqrt: { operands: 1, value: (x) => 1 / Math.sqrt(x), called: "1 over the square root" },
  sin: { operands: 1, value: Math.sin, called: "the sine of an angle in radians", loose: true },
  cos: { operands: 1, value: Math.cos, called: "the cosine of an angle in radians", loose: true },
  tanh: { operands: 1, value: Math.tanh, called: "the hyperbolic tangent", loose: true },
  erf: { operands: 1, value: errorFunction, called: "the error function", loose: true },
  sigmoid: { operands: 1, value: (x) => 1 / (1 + Math.exp(-x)), called: "1 / (1 + exp(-x))", loose: true },
  abs: { operands: 1, value: (x, _, dtype) => wrap(Math.abs(x), dtype), called: "x without its sign" },
  sign: { operands: 1, value: Math.sign, called: "-1, 0 or 1" },
  floor: { operands: 1, value: Math.floor, called: "rounded down; of a number or a size, a size" },
  /** Bits that look random, from a counter: the one source of randomness, so that results are the same everywhere. */
  hash: { operands: 1, value: mixBits, called: "u32 bits that look random, from u32 counters", bits: true },
  /** Identity that stops gradients. */
  detach: { operands: 1, value: (x) => x, called: "x, through which no gradient flows" },
  add: { operands: 2, value: (a, b, dtype) => wrap(a + b, dtype) },
  sub: { operands: 2, value: (a, b, dtype) => wrap(a - b, dtype) },
  mul: { operands: 2, value: (a, b, dtype) => (dtype === "f32" ? a * b : wrap(Math.imul(a, b), dtype)) },
  div: { operands: 2, value: (a, b, dtype) => (dtype === "f32" ? a / b : wrap(Math.trunc(a / b), dtype)) },
  /** Floored: the result has the sign of the divisor. */
  mod: { operands: 2, value: (a, b) => a - b * Math.floor(a / b) },
  pow: { operands: 2, value: Math.pow, called: "x to the power of y", loose: true },
  max: { operands: 2, value: (a, b) => Math.max(a, b) },
  min: { operands: 2, value: (a, b) => Math.min(a, b) },
  eq: { operands: 2, value: (a, b) => Number(a === b) },
  ne: { operands: 2, value: (a, b) => Number(a !== b) },
  lt: { operands: 2, value: (a, b) => Number(a < b) },
  le: { operands: 2, value: (a, b) => Number(a <= b) },
  gt: { operands: 2, value: (a, b) => Number(a > b) },
  ge: { operands: 2, value: (a, b) => Number(a >= b) },
  and: { operands: 2, value: (a, b) => Number(a !== 0 && b !== 0) },
  or: { operands: 2, value: (a, b) => Number(a !== 0 || b !== 0) },
  not: { operands: 1, value: (x) => Number(x === 0) },
} as const satisfies Readonly<Record<string, ScalarFunction>>;

export type ScalarName = keyof typeof scalars;

/** The function of this name; null for a name that is none. */
export function scalarFunction(name: string): ScalarFunction | null {
  return Object.hasOwn(scalars, name) ? scalars[name as ScalarName] : null;
}

/** Those that `.moe` calls by name. */
export function calledScalars(): readonly (readonly [ScalarName, CalledScalar])[] {
  return Object.entries<ScalarFunction>(scalars).flatMap(([name, fn]) =>
    fn.called === undefined ? [] : [[name as ScalarName, { ...fn, called: fn.called }] as const],
  );
}

export interface CalledScalar extends ScalarFunction {
  readonly called: string;
}

/** Integers wrap around as WGSL's do. */
function wrap(x: number, dtype: DType): number {
  return dtype === "u32" ? x >>> 0 : dtype === "i32" ? x | 0 : x;
}

/** PCG-RXS-M-XS on 32 bits. Jarzynski, Olano (2020), "Hash Functions for GPU Rendering". */
export function mixBits(x: number): number {
  const state = (Math.imul(x, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}

/** erf in float64: the series without cancellation, 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!. */
function errorFunction(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
