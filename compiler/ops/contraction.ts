/** The contraction of two tensors by name: every matrix product is one. */
import { Dim } from "../graph/dim.ts";
import type { Node } from "../graph/node.ts";
import type { TensorType } from "../graph/type.ts";
import { TIME, hasAxis, sameType } from "../graph/type.ts";
import type { Shorthands } from "./shorthands.ts";
import type { Rows } from "./define.ts";
import { isMismatch } from "./mismatch.ts";
import { fitGradient } from "./gradient.ts";
import { checkDtypes, checkHas, elementCount, joinTypes, two, withoutAxes } from "./typing.ts";
import { contractionValues, sizeOf, sizedAxes } from "./values.ts";

/** The product in the order of operands whose result has the axes as they are wanted, so that nothing has to be turned around afterwards. */
function gradientOf(b: Shorthands, ct: Node, other: Node, axes: readonly string[], like: TensorType): Node {
  const product = b.dot(ct, other, axes);
  const turned = b.dot(other, ct, axes);
  return fitGradient(b, [product, turned].find((x) => sameType(x.type, like)) ?? product, like);
}

export const contraction = {
  dot: {
    infer: (inputs, { axes }) => {
      const [a, b] = two(inputs);
      const wrong = checkDtypes(inputs, ["f32"]) ?? checkHas(a, 0, axes) ?? checkHas(b, 1, axes);
      if (wrong !== null) return wrong;
      // The summed axes have to agree in size as well.
      const whole = joinTypes("f32", inputs);
      if (isMismatch(whole)) return whole;
      return joinTypes(
        "f32",
        inputs.map((x) => ({ dtype: x.dtype, axes: withoutAxes(x, axes) })),
      );
    },
    evaluate: (inputs, { axes }, type, sizes) => {
      const [a, b] = two(inputs);
      const summed = axes.map((name) => ({ name, size: sizeOf(a, name) }));
      return contractionValues(a, b, sizedAxes(type, sizes), summed);
    },
    vjp: (b, node, ct) => {
      const [x, y] = two(node.inputs);
      const [onlyX, onlyY] = [
        x.type.axes.filter((a) => !hasAxis(y.type, a.name)),
        y.type.axes.filter((a) => !hasAxis(x.type, a.name)),
      ].map((axes) => axes.map((a) => a.name)) as [string[], string[]];
      return [gradientOf(b, ct, y, onlyY, x.type), gradientOf(b, ct, x, onlyX, y.type)];
    },
    time: ({ axes }) => (axes.includes(TIME) ? "future" : "pointwise"),
    flops: (inputs, { axes }, out) => {
      const [a] = two(inputs);
      const summed = a.axes.filter((x) => axes.includes(x.name)).map((x) => x.size);
      return Dim.product([Dim.of(2), elementCount(out), ...summed]);
    },
    lowering: { kind: "contraction" },
    called: {
      doc: "the sum of products over these axes; other axes meet by name",
      operands: ["x", "y"],
      brackets: "axes",
      attrs: (axes) => ({ axes: axes.map((a) => a.name) }),
    },
    samples: [
      {
        attrs: { axes: ["D"] },
        inputs: [
          { axes: "T=2 D=3", data: [1, 2, 3, 4, 5, 6] },
          { axes: "F=2 D=3", data: [1, 0, 2, 0, 1, -1] },
        ],
        output: [7, -1, 16, -1],
      },
      {
        attrs: { axes: ["D"] },
        inputs: [
          { axes: "N=2 D=2", data: [1, 2, 3, 4] },
          { axes: "D=2 N=2 F=2", data: [1, 2, 3, 4, 5, 6, 7, 8] },
        ],
        output: [11, 14, 37, 44],
      },
      {
        attrs: { axes: [] },
        inputs: [
          { axes: "T=2", data: [1, 2] },
          { axes: "D=2", data: [3, 4] },
        ],
        output: [3, 4, 6, 8],
      },
    ],
  },
} satisfies Rows<"dot">;
