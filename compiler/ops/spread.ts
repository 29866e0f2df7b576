/**
 * Adding rows up where an index says: the adjoint of `take`, and so the gradient of what was looked up or chosen. An index beyond the axis goes
 * nowhere.
 */
import { Dim } from "../graph/dim.ts";
import { TIME } from "../graph/type.ts";
import type { Rows } from "./define.ts";
import { fitGradient } from "./gradient.ts";
import { checkDtypes, checkHas, elementCount, mismatch, sizesDiffer, two, withoutAxes } from "./typing.ts";
import { offsetsOver, sizedAxes } from "./values.ts";

export const spread = {
  spread: {
    infer: (inputs, { axis, over }) => {
      const [x, index] = two(inputs);
      const wrong =
        checkDtypes([x], ["f32"]) ??
        checkHas(index, 1, over) ??
        checkHas(
          x,
          0,
          index.axes.map((a) => a.name),
        );
      if (wrong !== null) return wrong;
      if (index.dtype !== "u32") {
        return mismatch("type/index", `an index must be u32, but this is ${index.dtype}`, {
          inputs: [1],
          help: "cast with u32(x)",
          byDtype: true,
        });
      }
      for (const a of index.axes) {
        const own = x.axes.find((b) => b.name === a.name)!;
        if (!own.size.equals(a.size)) return sizesDiffer(own, 0, a, 1);
      }
      const kept = withoutAxes(x, over);
      if (kept.some((a) => a.name === axis.name)) {
        return mismatch("shape/duplicate-axis", `what is spread along \`${axis.name}\` has that axis already`, {
          axis: axis.name,
          inputs: [0],
          help: "rename it first",
        });
      }
      return { dtype: "f32", axes: [axis, ...kept] };
    },
    evaluate: (inputs, { axis }, type, sizes) => {
      const [x, index] = two(inputs);
      const axes = sizedAxes(type, sizes);
      const [to, at] = [offsetsOver({ axes, data: x.data }, x.axes), offsetsOver(index, x.axes)];
      const size = axes.find((a) => a.name === axis.name)!.size;
      const count = axes.reduce((n, a) => n * a.size, 1);
      const data = new Float64Array(count);
      x.data.forEach((value, i) => {
        const place = index.data[at[i]!]!;
        if (place < size) data[to[i]! + place * (count / size)]! += value;
      });
      return { axes, data };
    },
    vjp: (b, node, ct) => {
      const [x, index] = two(node.inputs);
      return [fitGradient(b, b.take(ct, index, node.attrs.axis.name), x.type), null];
    },
    time: ({ over }) => (over.includes(TIME) ? "future" : "pointwise"),
    flops: ([x]) => (x === undefined ? Dim.of(0) : elementCount(x)),
    lowering: { kind: "spread" },
    samples: [
      {
        attrs: { axis: { name: "V", size: Dim.of(3), origin: null }, over: ["T"] },
        inputs: [
          { axes: "T=4 D=2", data: [1, 2, 3, 4, 5, 6, 7, 8] },
          { axes: "T=4", dtype: "u32", data: [2, 0, 2, 0] },
        ],
        output: [10, 12, 0, 0, 6, 8],
      },
      {
        attrs: { axis: { name: "N", size: Dim.of(2), origin: null }, over: ["K"] },
        inputs: [
          { axes: "K=3 T=2", data: [1, 2, 3, 4, 5, 6] },
          { axes: "T=2 K=3", dtype: "u32", data: [0, 1, 1, 1, 1, 0] },
        ],
        output: [1, 6, 8, 6],
      },
    ],
  },
} satisfies Rows<"spread">;
