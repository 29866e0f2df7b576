/** Joining along an axis: a view of several inputs, told apart by where the index lies; other axes broadcast by name. */
import { Dim } from "../graph/dim.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Node } from "../graph/node.ts";
import type { Shorthands } from "./shorthands.ts";
import type { OpDef } from "./define.ts";
import { isMismatch } from "./mismatch.ts";
import { fitGradient, freshLabel } from "./gradient.ts";
import type { Typed } from "./typing.ts";
import { axisOf, checkHas, distinctAxes, joinTypes, mismatch, replaceAxis } from "./typing.ts";
import { arrange, countElements, sizeOf, sizedAxes } from "./values.ts";

export const concat: OpDef<"concat"> = {
  flops: () => Dim.of(0),
  infer: (inputs, { axis, to }) => inferConcat(inputs, axis, to),
  evaluate: (inputs, { axis, to }, type, sizes) => {
    const axes = sizedAxes(type, sizes);
    const at = axes.findIndex((a) => a.name === to.name);
    const inner = countElements(axes.slice(at + 1));
    const joined = sizes(to.size) * inner;
    const data = new Float64Array(countElements(axes));
    let start = 0;
    for (const input of inputs) {
      const length = sizeOf(input, axis) * inner;
      const over = axes.map((a) => (a.name === to.name ? { name: axis, size: sizeOf(input, axis) } : a));
      const part = arrange(input, over).data;
      for (let row = 0; row * length < part.length; row++) {
        data.set(part.subarray(row * length, (row + 1) * length), row * joined + start);
      }
      start += length;
    }
    return { axes, data };
  },
  vjp: (b, node, ct) => {
    const { axis, to } = node.attrs;
    let start = Dim.of(0);
    return node.inputs.map((input) => {
      const own = axisOf(input.type, axis);
      const first = start;
      start = start.plus(own.size);
      if (input.type.dtype !== "f32") return null;
      const piece = first.value === null ? takePart(b, ct, to, first, own) : b.slice(ct, to.name, first.value, own);
      return fitGradient(b, piece, input.type);
    });
  },
  time: ({ axis, to }) => ([axis, to.name].includes(TIME) ? "future" : "pointwise"),
  lowering: { kind: "concat" },
  samples: [
    {
      attrs: { axis: "D", to: { name: "D", size: Dim.of(3), origin: null } },
      inputs: [
        { axes: "T=2 D=1", data: [1, 2] },
        { axes: "T=2 D=2", data: [3, 4, 5, 6] },
      ],
      output: [1, 3, 4, 2, 5, 6],
    },
    {
      attrs: { axis: "T", to: { name: "S", size: Dim.of(3), origin: null } },
      inputs: [
        { axes: "T=1", data: [9] },
        { axes: "T=2 D=2", data: [1, 2, 3, 4] },
      ],
      output: [9, 9, 1, 2, 3, 4],
    },
    {
      attrs: { axis: "D", to: { name: "E", size: Dim.of(8), origin: null } },
      inputs: [
        { axes: "D=4", data: [1, 2, 3, 4] },
        { axes: "D=4", data: [5, 6, 7, 8] },
      ],
      output: [1, 2, 3, 4, 5, 6, 7, 8],
    },
  ],
};

/** A part that begins at a symbolic index, which a slice cannot say; as a value it is a sum of ones. */
function takePart(b: Shorthands, x: Node, whole: Axis, first: Dim, part: Axis): Node {
  const label = freshLabel(part.name, [x.type]);
  const ones = b.broadcast(b.constant(1, "u32"), [{ ...whole, size: first }]);
  const index = b.plus(b.iota({ ...part, name: label }), b.sum(ones, [whole.name]));
  return b.rename(b.take(x, index, whole.name), label, part.name);
}

function inferConcat(inputs: readonly TensorType[], axis: string, to: Axis): Typed {
  const missing = inputs.map((x, i) => checkHas(x, i, [axis])).find((m) => m !== null);
  if (missing !== undefined) return missing;
  const differs = inputs.findIndex((x) => x.dtype !== inputs[0]?.dtype);
  if (differs >= 0) {
    const message = `one part is ${inputs[0]?.dtype} and another ${inputs[differs]?.dtype}`;
    return mismatch("type/operands-differ", message, { inputs: [0, differs], byDtype: true });
  }
  const total = inputs.reduce((sum, x) => sum.plus(axisOf(x, axis).size), Dim.of(0));
  if (!total.equals(to.size)) {
    return mismatch(
      "shape/concat-size",
      `the parts add up to ${total.key}, but axis \`${to.name}\` is ${to.size.key}`,
      {
        axis: to.name,
        inputs: inputs.map((_, i) => i),
      },
    );
  }
  return joinParts(inputs, axis, to);
}

/** Broadcasts the other axes by name, as if every part had the joined axis. */
function joinParts(inputs: readonly TensorType[], axis: string, to: Axis): Typed {
  const joined = joinTypes(
    inputs[0]?.dtype ?? "f32",
    inputs.map((x) => ({ dtype: x.dtype, axes: replaceAxis(x, axis, [to]) })),
  );
  return isMismatch(joined) ? joined : distinctAxes(joined.dtype, joined.axes);
}
