/**
 * Reductions over named axes. The identities are f32's; for integers they mean the nearest value of the type, and sums of them wrap where
 * their 32 bits end, as `+` does.
 * A maximum's gradient is shared evenly among equal maxima.
 */
import type { Attrs } from "../graph/attrs.ts";
import type { Node } from "../graph/node.ts";
import { scalars } from "../graph/scalar.ts";
import type { DType, TensorType } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Shorthands } from "./shorthands.ts";
import type { OpDef, Rows } from "./define.ts";
import { fitGradient } from "./gradient.ts";
import type { Typed } from "./typing.ts";
import { checkDtypes, checkHas, distinctAxes, elementCount, one, withoutAxes } from "./typing.ts";
import { reduceValue, sizedAxes } from "./values.ts";

type Reduce = "sum" | "reduce_max" | "reduce_min";

const LARGEST = 3.4028234663852886e38;
const sample = { axes: "T=2 D=3", data: [1, 5, 2, 4, -3, 6] };

export const reduce = {
  sum: {
    ...shared<"sum">(scalars.add.value, 0, (a, b) => `(${a} + ${b})`),
    vjp: (b, node, ct) => [floatOnly(node, () => fitGradient(b, ct, one(node.inputs).type))],
    samples: [
      { attrs: { axes: ["D"] }, inputs: [sample], output: [8, 7] },
      { attrs: { axes: ["T"] }, inputs: [sample], output: [5, 2, 8] },
      { attrs: { axes: ["D", "T"] }, inputs: [sample], output: [15] },
      {
        attrs: { axes: ["D"] },
        inputs: [{ axes: "D=3", dtype: "u32", data: [0xffffffff, 0xfffffffe, 5] }],
        output: [2],
      },
      {
        attrs: { axes: ["D"] },
        inputs: [{ axes: "D=2", dtype: "i32", data: [-0x80000000, -3] }],
        output: [0x7ffffffd],
      },
    ],
  },
  reduce_max: {
    ...shared<"reduce_max">(scalars.max.value, -LARGEST, (a, b) => `max(${a}, ${b})`),
    vjp: extremumGradient,
    samples: [{ attrs: { axes: ["D"] }, inputs: [sample], output: [5, 6] }],
  },
  reduce_min: {
    ...shared<"reduce_min">(scalars.min.value, LARGEST, (a, b) => `min(${a}, ${b})`),
    vjp: extremumGradient,
    samples: [{ attrs: { axes: ["T"] }, inputs: [sample], output: [1, -3, 2] }],
  },
} satisfies Rows<Reduce>;

function shared<O extends Reduce>(
  value: (a: number, b: number, dtype: DType) => number,
  identity: number,
  combine: (a: string, b: string) => string,
): Omit<OpDef<O>, "vjp" | "samples"> {
  return {
    infer,
    evaluate: (inputs, _attrs, type, sizes) =>
      reduceValue(one(inputs), sizedAxes(type, sizes), (a, b) => value(a, b, type.dtype), identity),
    time: ({ axes }) => (axes.includes(TIME) ? "future" : "pointwise"),
    flops: (inputs) => elementCount(one(inputs)),
    lowering: { kind: "reduce", identity, combine },
  };
}

function infer(inputs: readonly TensorType[], { axes }: Attrs[Reduce]): Typed {
  const x = one(inputs);
  return (
    checkDtypes(inputs, ["f32", "u32", "i32"]) ?? checkHas(x, 0, axes) ?? distinctAxes(x.dtype, withoutAxes(x, axes))
  );
}

function extremumGradient(
  b: Shorthands,
  node: Node<"reduce_max"> | Node<"reduce_min">,
  ct: Node,
): readonly (Node | null)[] {
  return [
    floatOnly(node, () => {
      const x = one(node.inputs);
      const hit = b.cast(b.eq(x, node), "f32");
      return b.times(hit, b.over(ct, b.sum(hit, node.attrs.axes)));
    }),
  ];
}

function floatOnly(node: Node, gradient: () => Node): Node | null {
  return node.type.dtype === "f32" ? gradient() : null;
}
