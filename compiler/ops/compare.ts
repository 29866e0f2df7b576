/** Comparisons, logic, choice and conversion: the maps that touch bool. They carry no gradient except `select`. */
import type { ScalarFunction } from "../graph/scalar.ts";
import { scalars } from "../graph/scalar.ts";
import type { DType } from "../graph/type.ts";
import type { Lanes, OpDef, Rows } from "./define.ts";
import { fitAll, mapRow, splat } from "./map-row.ts";
import { checkDtypes, elementCount, joinTypes, mismatch, one, three } from "./typing.ts";
import { mapValues, sizedAxes } from "./values.ts";

const numeric: readonly DType[] = ["f32", "u32", "i32"];

export const compare = {
  eq: comparison(scalars.eq, [...numeric, "bool"], "==", [0, 1, 0]),
  ne: comparison(scalars.ne, [...numeric, "bool"], "!=", [1, 0, 1]),
  lt: comparison(scalars.lt, numeric, "<", [1, 0, 0]),
  le: comparison(scalars.le, numeric, "<=", [1, 1, 0]),
  gt: comparison(scalars.gt, numeric, ">", [0, 0, 1]),
  ge: comparison(scalars.ge, numeric, ">=", [0, 1, 1]),
  and: logic(scalars.and, "&", [0, 0, 0, 1]),
  or: logic(scalars.or, "|", [0, 1, 1, 1]),
  not: mapRow({
    takes: ["bool"],
    fn: scalars.not,
    vjp: null,
    wgsl: (x) => `(!${x})`,
    samples: [{ inputs: [{ axes: "D=2", dtype: "bool", data: [0, 1] }], output: [1, 0] }],
  }),
  select: {
    infer: (inputs) => {
      const [condition, then, otherwise] = three(inputs);
      if (condition.dtype !== "bool") {
        return mismatch("type/operand", `the condition must be bool, but this is ${condition.dtype}`, {
          inputs: [0],
          byDtype: true,
        });
      }
      const dtypes = checkDtypes([then, otherwise], [...numeric, "bool"]);
      return dtypes === null ? joinTypes(then.dtype, inputs) : { ...dtypes, inputs: dtypes.inputs.map((i) => i + 1) };
    },
    evaluate: (inputs, _attrs, type, sizes) =>
      mapValues(sizedAxes(type, sizes), inputs, (c, a, b) => (c !== 0 ? a : b)),
    vjp: (b, node, ct) => {
      const [condition] = three(node.inputs);
      return fitAll(b, node.inputs, [null, b.select(condition, ct, 0), b.select(condition, 0, ct)]);
    },
    time: () => "pointwise",
    flops: (_inputs, _attrs, out) => elementCount(out),
    lowering: { kind: "map", scalar: ([c = "", a = "", b = ""]) => `select(${b}, ${a}, ${c})` },
    samples: [
      {
        attrs: {},
        inputs: [
          { axes: "T=2", dtype: "bool", data: [1, 0] },
          { axes: "D=3", data: [1, 2, 3] },
          { axes: "T=2 D=3", data: [4, 5, 6, 7, 8, 9] },
        ],
        output: [1, 2, 3, 7, 8, 9],
      },
    ],
  },
  /** To integers: towards zero, and clamped to what the type can hold. */
  cast: {
    infer: (inputs, { to }) => ({ dtype: to, axes: one(inputs).axes }),
    evaluate: (inputs, { to }, type, sizes) => mapValues(sizedAxes(type, sizes), inputs, (x) => convert(x, to)),
    vjp: (_b, node, ct) => [node.attrs.to === "f32" && one(node.inputs).type.dtype === "f32" ? ct : null],
    time: () => "pointwise",
    flops: (_inputs, _attrs, out) => elementCount(out),
    lowering: {
      kind: "map",
      scalar: ([x = ""], { to }, from, lanes = 1) => {
        const clamped =
          from === "i32" && to === "u32"
            ? `max(${x}, ${splat("0", "i32", lanes)})`
            : from === "u32" && to === "i32"
              ? `min(${x}, ${splat("2147483647u", "u32", lanes)})`
              : x;
        return `${wgslType(to, lanes)}(${clamped})`;
      },
    },
    samples: [
      { attrs: { to: "u32" }, inputs: [{ axes: "D=3", data: [1.75, -2.5, 3] }], output: [1, 0, 3] },
      { attrs: { to: "i32" }, inputs: [{ axes: "D=3", data: [1.75, -2.5, 3] }], output: [1, -2, 3] },
      { attrs: { to: "bool" }, inputs: [{ axes: "D=3", data: [0, -2.5, 1] }], output: [0, 1, 1] },
      { attrs: { to: "f32" }, inputs: [{ axes: "D=2", dtype: "bool", data: [0, 1] }], output: [0, 1] },
      { attrs: { to: "f32" }, inputs: [{ axes: "D=2", data: [0.5, 1] }], output: [0.5, 1] },
    ],
  },
} satisfies Rows<"eq" | "ne" | "lt" | "le" | "gt" | "ge" | "and" | "or" | "not" | "select" | "cast">;

function comparison<O extends "eq" | "ne" | "lt" | "le" | "gt" | "ge">(
  fn: ScalarFunction,
  takes: readonly DType[],
  sign: string,
  output: readonly number[],
): OpDef<O> {
  return mapRow({
    takes,
    gives: "bool",
    fn,
    vjp: null,
    wgsl: (a, b) => `(${a} ${sign} ${b})`,
    samples: [
      {
        inputs: [
          { axes: "D=3", data: [1, 2, 3] },
          { axes: "", data: [2] },
        ],
        output,
      },
    ],
  });
}

function logic<O extends "and" | "or">(fn: ScalarFunction, sign: string, output: readonly number[]): OpDef<O> {
  const [a, b] = [
    { axes: "A=2", dtype: "bool", data: [0, 1] },
    { axes: "B=2", dtype: "bool", data: [0, 1] },
  ] as const;
  return mapRow({
    takes: ["bool"],
    fn,
    vjp: null,
    wgsl: (x, y) => `(${x} ${sign} ${y})`,
    samples: [{ inputs: [a, b], output }],
  });
}

function convert(x: number, to: DType): number {
  switch (to) {
    case "f32":
      return x;
    case "u32":
      return Math.min(Math.max(Math.trunc(x), 0), 0xffffffff);
    case "i32":
      return Math.min(Math.max(Math.trunc(x), -0x80000000), 0x7fffffff);
    case "bool":
      return Number(x !== 0);
    default:
      return to satisfies never;
  }
}

function wgslType(dtype: DType, lanes: Lanes): string {
  return lanes === 4 ? `vec4<${dtype}>` : dtype;
}
