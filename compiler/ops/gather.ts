/**
 * Picking elements by index. The gradient adds rows back where they came from (`spread`), or, within a token's own row, is a contraction with
 * one-hot rows.
 */
import { Dim } from "../graph/dim.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import type { Rows } from "./define.ts";
import { fitGradient, oneHot } from "./gradient.ts";
import { axisOf, checkHas, mismatch, replaceAxis, sizesDiffer, two } from "./typing.ts";
import { offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

export const gather = {
  take: {
    infer: (inputs, { axis }) => {
      const [x, index] = two(inputs);
      if (index.dtype !== "u32") {
        return mismatch("type/index", `an index must be u32, but this is ${index.dtype}`, {
          inputs: [1],
          help: "cast with u32(x)",
          byDtype: true,
        });
      }
      const missing = checkHas(x, 0, [axis]);
      if (missing !== null) return missing;
      if (hasAxis(index, axis)) {
        return mismatch("shape/duplicate-axis", `the index has axis \`${axis}\`, along which it picks`, {
          axis,
          inputs: [1],
          help: "rename it in the index first",
        });
      }
      for (const a of index.axes) {
        const own = x.axes.find((b) => b.name === a.name);
        if (own !== undefined && !own.size.equals(a.size)) return sizesDiffer(own, 0, a, 1);
      }
      return {
        dtype: x.dtype,
        axes: replaceAxis(
          x,
          axis,
          index.axes.filter((a) => !hasAxis(x, a.name)),
        ),
      };
    },
    evaluate: (inputs, { axis }, type, sizes) => {
      const [x, index] = two(inputs);
      const axes = sizedAxes(type, sizes);
      const [from, at] = [offsetsOver(x, axes), offsetsOver(index, axes)];
      const [size, stride] = [sizeOf(x, axis), strideOf(x, axis)];
      const data = Float64Array.from(from, (start, i) => {
        const picked = index.data[at[i]!]!;
        if (!(picked >= 0 && picked < size))
          throw new RangeError(`index ${picked} is outside axis ${axis} of size ${size}`);
        return x.data[start + picked * stride]!;
      });
      return { axes, data };
    },
    vjp: (b, node, ct) => {
      const [x, index] = two(node.inputs);
      if (x.type.dtype !== "f32") return [null, null];
      const added = index.type.axes.filter((a) => !hasAxis(x.type, a.name)).map((a) => a.name);
      const axis = axisOf(x.type, node.attrs.axis);
      // Of what all tokens look up, most is not looked up by one; what a token picks of its own row is few numbers.
      if (!x.type.axes.some((a) => a.size.value === null) && index.type.axes.some((a) => a.size.value === null))
        return [fitGradient(b, b.spread(ct, index, axis, added), x.type), null];
      return [fitGradient(b, b.dot(ct, oneHot(b, index, axis), added), x.type), null];
    },
    time: ({ axis }) => (axis === TIME ? "future" : "pointwise"),
    flops: () => Dim.of(0),
    lowering: { kind: "gather" },
    called: {
      doc: "x at u32 indices along N; the axes of the index take the place of N",
      operands: ["x", "index"],
      brackets: "one axis",
      attrs: ([axis]) => ({ axis: axis!.name }),
    },
    samples: [
      {
        attrs: { axis: "V" },
        inputs: [
          { axes: "V=3 D=2", data: [1, 2, 3, 4, 5, 6] },
          { axes: "T=4", dtype: "u32", data: [2, 0, 2, 1] },
        ],
        output: [5, 6, 1, 2, 5, 6, 3, 4],
      },
      {
        attrs: { axis: "N" },
        inputs: [
          { axes: "T=2 N=3", data: [1, 2, 3, 4, 5, 6] },
          { axes: "T=2 K=2", dtype: "u32", data: [2, 0, 1, 1] },
        ],
        output: [3, 1, 5, 5],
      },
      {
        attrs: { axis: "N" },
        inputs: [
          { axes: "T=2 N=3", data: [1, 2, 3, 4, 5, 6] },
          { axes: "", dtype: "u32", data: [1] },
        ],
        output: [2, 5],
      },
    ],
  },
} satisfies Rows<"take">;
