/** Results along one axis that other elements of the same row decide: top-k selection and running sums. */
import { Dim } from "../graph/dim.ts";
import { scalars } from "../graph/scalar.ts";
import type { Axis } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Rows, Value } from "./define.ts";
import { fitGradient, oneHot } from "./gradient.ts";
import {
  axisOf,
  checkDtypes,
  checkHas,
  checkRow,
  distinctAxes,
  elementCount,
  mismatch,
  one,
  replaceAxis,
} from "./typing.ts";
import type { SizedAxis } from "./values.ts";
import { countElements, offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

const distinct = { axes: "T=2 N=4", data: [1, 6, 3, 5, -1, -4, -2, -3] };
const rows = { axes: "T=2 N=4", data: [1, 5, 3, 5, -1, -4, -2, -3] };

export const row = {
  topk: {
    infer: (inputs, { axis, k, part }) => {
      const x = one(inputs);
      const wrong = checkDtypes(inputs, ["f32"]) ?? checkHas(x, 0, [axis]);
      if (wrong !== null) return wrong;
      if (k.name === axis) {
        return mismatch("shape/duplicate-axis", `the chosen and the chosen-from axis are both \`${axis}\``, {
          axis,
          inputs: [0],
        });
      }
      const { size } = axisOf(x, axis);
      const left = size.minus(k.size).value;
      if (left !== null && left < 0) {
        return mismatch("shape/topk-size", `cannot choose ${k.size.key} along axis \`${axis}\`, which is ${size.key}`, {
          axis,
          inputs: [0],
        });
      }
      if (part === "ranks") return { dtype: "u32", axes: x.axes };
      return distinctAxes(part === "indices" ? "u32" : x.dtype, replaceAxis(x, axis, [k]));
    },
    evaluate: (inputs, { axis, k, part }, type, sizes) =>
      mapRows(one(inputs), axis, part === "ranks" ? axis : k.name, sizedAxes(type, sizes), (values, out) => {
        const order = Uint32Array.from(values, (_, i) => i).sort((i, j) => values[j]! - values[i]! || i - j);
        if (part === "ranks") return order.forEach((i, rank) => (out[i] = rank));
        for (let i = 0; i < out.length; i++) out[i] = part === "indices" ? order[i]! : values[order[i]!]!;
      }),
    vjp: (b, node, ct) => {
      const { axis, k, part } = node.attrs;
      if (part !== "values") return [null];
      const x = one(node.inputs);
      const indices = b.must("topk", [x], { axis, k, part: "indices" });
      return [fitGradient(b, b.dot(ct, oneHot(b, indices, axisOf(x.type, axis)), [k.name]), x.type)];
    },
    time: ({ axis, k }) => (axis === TIME || k.name === TIME || k.size.dependsOn(TIME) ? "future" : "pointwise"),
    flops: (inputs, { k }) => elementCount(one(inputs)).times(k.size),
    lowering: { kind: "choice" },
    samples: [
      { attrs: { axis: "N", k: axisK(2), part: "values" }, inputs: [distinct], output: [6, 5, -1, -2] },
      { attrs: { axis: "N", k: axisK(3), part: "indices" }, inputs: [rows], output: [1, 3, 2, 0, 2, 3] },
      {
        attrs: { axis: "N", k: axisK(1), part: "ranks" },
        inputs: [rows],
        output: [3, 0, 2, 1, 0, 3, 1, 2],
      },
      { attrs: { axis: "T", k: axisK(1), part: "indices" }, inputs: [rows], output: [0, 0, 0, 0] },
    ],
  },
  cumsum: {
    infer: (inputs, { axis }) =>
      checkDtypes(inputs, ["f32", "u32", "i32"]) ??
      checkHas(one(inputs), 0, [axis]) ??
      (axis === TIME ? checkRow(one(inputs), 0) : null) ??
      one(inputs),
    evaluate: (inputs, { axis, exclusive }, type, sizes) =>
      mapRows(one(inputs), axis, axis, sizedAxes(type, sizes), (values, out) => {
        let sum = 0;
        for (let i = 0; i < values.length; i++) {
          const next = scalars.add.value(sum, values[i]!, type.dtype);
          out[i] = exclusive ? sum : next;
          sum = next;
        }
      }),
    vjp: (b, node, ct) => {
      if (ct.type.dtype !== "f32") return [null];
      // Each element adds to all later sums: the whole sum less the running one.
      const { axis, exclusive } = node.attrs;
      return [b.minus(fitGradient(b, b.sum(ct, [axis]), ct.type), b.cumsum(ct, axis, !exclusive))];
    },
    time: ({ axis }) => (axis === TIME ? "causal" : "pointwise"),
    // Along time it becomes a `scan`, which keeps the same.
    states: (node) =>
      node.attrs.axis === TIME
        ? [{ part: "h", row: node.type.axes.filter((a) => a.name !== TIME), rows: { kind: "last", count: 1 } }]
        : [],
    flops: (inputs) => elementCount(one(inputs)),
    lowering: { kind: "running" },
    samples: [
      { attrs: { axis: "N", exclusive: false }, inputs: [rows], output: [1, 6, 9, 14, -1, -5, -7, -10] },
      { attrs: { axis: "T", exclusive: true }, inputs: [rows], output: [0, 0, 0, 0, 1, 5, 3, 5] },
      {
        attrs: { axis: "N", exclusive: false },
        inputs: [{ axes: "N=3", dtype: "u32", data: [0xffffffff, 3, 4] }],
        output: [0xffffffff, 2, 6],
      },
    ],
  },
} satisfies Rows<"topk" | "cumsum">;

/** Computes each row along `axis` of a value into a row along `to` of the result. */
function mapRows(
  x: Value,
  axis: string,
  to: string,
  axes: readonly SizedAxis[],
  f: (values: Float64Array, out: Float64Array) => void,
): Value {
  const result: Value = { axes, data: new Float64Array(countElements(axes)) };
  const others = axes.filter((a) => a.name !== to);
  const [from, into] = [offsetsOver(x, others), offsetsOver(result, others)];
  const [values, out] = [new Float64Array(sizeOf(x, axis)), new Float64Array(sizeOf(result, to))];
  const [strideX, strideOut] = [strideOf(x, axis), strideOf(result, to)];
  for (let r = 0; r < from.length; r++) {
    for (let i = 0; i < values.length; i++) values[i] = x.data[from[r]! + i * strideX]!;
    f(values, out);
    for (let i = 0; i < out.length; i++) result.data[into[r]! + i * strideOut] = out[i]!;
  }
  return result;
}

function axisK(size: number): Axis {
  return { name: "K", size: Dim.of(size), origin: null };
}
