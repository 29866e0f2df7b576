/**
 * Elementwise arithmetic. What overflows is infinite, and NaN stays NaN, so that a result which means nothing is seen to: `min` and
 * `max` of WGSL may take the number beside a NaN, so a bound is chosen by a comparison. Integers wrap as on the GPU.
 */
import { isOp } from "../graph/node.ts";
import type { ScalarName } from "../graph/scalar.ts";
import { scalars } from "../graph/scalar.ts";
import type { DType } from "../graph/type.ts";
import type { Rows } from "./define.ts";
import type { MapSample } from "./map-row.ts";
import { mapRow } from "./map-row.ts";

const float: readonly DType[] = ["f32"];
const signed: readonly DType[] = ["f32", "i32"];
const numeric: readonly DType[] = ["f32", "u32", "i32"];

export const elementwise = {
  neg: mapRow({
    takes: signed,
    fn: scalars.neg,
    vjp: (b, { ct }) => [b.neg(ct)],
    wgsl: (x) => `(-${x})`,
    samples: [
      unary([1, -2, 0.5], [-1, 2, -0.5]),
      { inputs: [{ axes: "D=2", dtype: "i32", data: [-0x80000000, 7] }], output: [-0x80000000, -7] },
    ],
  }),
  exp: mapRow({
    takes: float,
    fn: scalars.exp,
    vjp: (b, { out, ct }) => [b.times(ct, out)],
    wgsl: (x, _, _dtype, lanes) => `${lanes === 4 ? "moe_exp4" : "moe_exp"}(${x})`,
    samples: [unary([0, 1, -1], [1, Math.E, 1 / Math.E])],
  }),
  log: mapRow({
    takes: float,
    fn: scalars.log,
    vjp: (b, { x, ct }) => [b.over(ct, x)],
    wgsl: (x) => `log(${x})`,
    samples: [unary([1, Math.E, 8], [0, 1, 3 * Math.LN2])],
  }),
  sqrt: mapRow({
    takes: float,
    fn: scalars.sqrt,
    vjp: (b, { out, ct }) => [b.over(b.times(ct, 0.5), out)],
    wgsl: (x) => `sqrt(${x})`,
    samples: [unary([1, 4, 2.25], [1, 2, 1.5])],
  }),
  rsqrt: mapRow({
    takes: float,
    fn: scalars.rsqrt,
    vjp: (b, { x, out, ct }) => [b.over(b.times(b.times(ct, -0.5), out), x)],
    wgsl: (x) => `inverseSqrt(${x})`,
    samples: [unary([1, 4, 0.25], [1, 0.5, 2])],
  }),
  sin: mapRow({
    takes: float,
    fn: scalars.sin,
    vjp: (b, { x, ct }) => [b.times(ct, b.cos(x))],
    wgsl: (x) => `sin(${x})`,
    samples: [unary([0, Math.PI / 2, Math.PI / 6], [0, 1, 0.5])],
  }),
  cos: mapRow({
    takes: float,
    fn: scalars.cos,
    vjp: (b, { x, ct }) => [b.neg(b.times(ct, b.sin(x)))],
    wgsl: (x) => `cos(${x})`,
    samples: [unary([0, Math.PI, Math.PI / 3], [1, -1, 0.5])],
  }),
  tanh: mapRow({
    takes: float,
    fn: scalars.tanh,
    vjp: (b, { out, ct }) => [b.times(ct, b.minus(1, b.times(out, out)))],
    wgsl: (x, _, _dtype, lanes) => `${lanes === 4 ? "moe_tanh4" : "moe_tanh"}(${x})`,
    samples: [unary([0, Math.LN2, -Math.LN2], [0, 0.6, -0.6])],
  }),
  erf: mapRow({
    takes: float,
    fn: scalars.erf,
    vjp: (b, { x, ct }) => [b.times(ct, b.times(2 / Math.sqrt(Math.PI), b.exp(b.neg(b.times(x, x)))))],
    wgsl: (x, _, _dtype, lanes) => `${lanes === 4 ? "moe_erf4" : "moe_erf"}(${x})`,
    samples: [unary([0, 1, -0.5], [0, 0.8427007929497149, -0.5204998778130465])],
  }),
  sigmoid: mapRow({
    takes: float,
    fn: scalars.sigmoid,
    vjp: (b, { out, ct }) => [b.times(ct, b.times(out, b.minus(1, out)))],
    wgsl: (x, _, _dtype, lanes) => `${lanes === 4 ? "moe_sigmoid4" : "moe_sigmoid"}(${x})`,
    samples: [unary([0, Math.log(3), -Math.log(3)], [0.5, 0.75, 0.25])],
  }),
  abs: mapRow({
    takes: signed,
    fn: scalars.abs,
    vjp: (b, { x, ct }) => [b.times(ct, b.sign(x))],
    wgsl: (x) => `abs(${x})`,
    samples: [
      unary([1, -2, 0.5], [1, 2, 0.5]),
      { inputs: [{ axes: "D=2", dtype: "i32", data: [-0x80000000, -7] }], output: [-0x80000000, 7] },
    ],
  }),
  sign: mapRow({
    takes: signed,
    fn: scalars.sign,
    vjp: () => [null],
    wgsl: (x) => `sign(${x})`,
    samples: [unary([3, -2, 0.5], [1, -1, 1])],
  }),
  floor: mapRow({
    takes: float,
    fn: scalars.floor,
    vjp: () => [null],
    wgsl: (x) => `floor(${x})`,
    samples: [unary([1.5, -1.5, 0.25], [1, -2, 0])],
  }),
  hash: mapRow({
    takes: ["u32"],
    fn: scalars.hash,
    vjp: () => [null],
    wgsl: (x, _, _dtype, lanes) => `${lanes === 4 ? "moe_hash4" : "moe_hash"}(${x})`,
    samples: [
      {
        inputs: [{ axes: "D=3", dtype: "u32", data: [0, 1, 65536] }],
        output: [129708002, 2831084092, 688544357],
      },
    ],
  }),
  detach: mapRow({
    takes: ["f32", "u32", "i32", "bool"],
    fn: scalars.detach,
    vjp: () => [null],
    wgsl: (x) => x,
    samples: [unary([1, -2, 3], [1, -2, 3])],
  }),
  add: mapRow({
    takes: numeric,
    fn: scalars.add,
    vjp: (_b, { ct }) => [ct, ct],
    wgsl: (a, b) => `(${a} + ${b})`,
    samples: [outer([11, 21, 31, 12, 22, 32]), outer([11, 21, 31, 12, 22, 32], "u32")],
  }),
  sub: mapRow({
    takes: numeric,
    fn: scalars.sub,
    vjp: (b, { ct }) => [ct, b.neg(ct)],
    wgsl: (a, b) => `(${a} - ${b})`,
    samples: [outer([-9, -19, -29, -8, -18, -28])],
  }),
  mul: mapRow({
    takes: numeric,
    fn: scalars.mul,
    vjp: (b, { x, y, ct }) => [b.times(ct, y), b.times(ct, x)],
    wgsl: (a, b) => `(${a} * ${b})`,
    samples: [outer([10, 20, 30, 20, 40, 60]), outer([10, 20, 30, 20, 40, 60], "i32")],
  }),
  div: mapRow({
    takes: numeric,
    fn: scalars.div,
    vjp: (b, { y, out, ct }) => [b.over(ct, y), b.neg(b.over(b.times(ct, out), y))],
    wgsl: (a, b) => `(${a} / ${b})`,
    samples: [outer([0.1, 0.05, 1 / 30, 0.2, 0.1, 1 / 15])],
  }),
  mod: mapRow({
    takes: numeric,
    fn: scalars.mod,
    vjp: (b, { x, y, ct }) => [ct, b.neg(b.times(ct, b.floor(b.over(x, y))))],
    wgsl: (a, b, dtype) =>
      dtype === "f32"
        ? `(${a} - ${b} * floor(${a} / ${b}))`
        : dtype === "u32"
          ? `(${a} % ${b})`
          : `((${a} % ${b} + ${b}) % ${b})`,
    samples: [binary([7.5, -1, 5], [2, 4, -3], [1.5, 3, -1])],
  }),
  pow: mapRow({
    takes: float,
    fn: scalars.pow,
    vjp: (b, { x, y, out, ct }) => {
      // The exponent's gradient has log(x); where x is not positive the exponent is taken as fixed.
      const positive = b.gt(x, 0);
      const log = b.select(positive, b.log(b.select(positive, x, 1)), 0);
      const slope = b.times(y, b.pow(x, b.minus(y, 1)));
      // x ^ 0 is 1 for every x, where 0 * x ^ -1 has no value at 0.
      const fixed = isOp(y, "constant") && y.attrs.value !== 0;
      return [b.times(ct, fixed ? slope : b.select(b.eq(y, 0), 0, slope)), b.times(ct, b.times(out, log))];
    },
    wgsl: (a, b, _dtype, lanes) => `${lanes === 4 ? "moe_pow4" : "moe_pow"}(${a}, ${b})`,
    samples: [binary([2, 4, 0.5], [3, 0.5, -1], [8, 2, 2])],
  }),
  max: mapRow({
    takes: numeric,
    fn: scalars.max,
    vjp: (b, { x, y, ct }) => [b.select(b.ge(x, y), ct, 0), b.select(b.ge(x, y), 0, ct)],
    wgsl: (a, b, dtype) => (dtype === "f32" ? `select(${a}, ${b}, ${b} > ${a})` : `max(${a}, ${b})`),
    samples: [binary([1, 5, -2], [2, 3, -4], [2, 5, -2])],
  }),
  min: mapRow({
    takes: numeric,
    fn: scalars.min,
    vjp: (b, { x, y, ct }) => [b.select(b.le(x, y), ct, 0), b.select(b.le(x, y), 0, ct)],
    wgsl: (a, b, dtype) => (dtype === "f32" ? `select(${a}, ${b}, ${b} < ${a})` : `min(${a}, ${b})`),
    samples: [binary([1, 5, -2], [2, 3, -4], [1, 3, -4])],
  }),
} satisfies Rows<Exclude<ScalarName, "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "and" | "or" | "not">>;

function unary(data: readonly number[], output: readonly number[]): MapSample {
  return { inputs: [{ axes: "D=3", data }], output };
}

function binary(a: readonly number[], b: readonly number[], output: readonly number[]): MapSample {
  return {
    inputs: [
      { axes: "D=3", data: a },
      { axes: "D=3", data: b },
    ],
    output,
  };
}

/** Operands that broadcast against each other: [1, 2] over T with [10, 20, 30] over D. */
function outer(output: readonly number[], dtype: DType = "f32"): MapSample {
  return {
    inputs: [
      { axes: "T=2", dtype, data: [1, 2] },
      { axes: "D=3", dtype, data: [10, 20, 30] },
    ],
    output,
  };
}
