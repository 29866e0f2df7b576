/**
 * Values that come from nowhere in the graph. Inputs and parameters are bound by whoever evaluates; in the oracle the
 * whole sequence is one sequence, so positions count from 0 and its length is T.
 */
import { Dim } from "../graph/dim.ts";
import { TIME } from "../graph/type.ts";
import type { OpDef, Rows, Value } from "./define.ts";
import { distinctAxes, mismatch } from "./typing.ts";

export const source = {
  input: bound("input"),
  param: bound("param"),
  constant: {
    infer: (_inputs, { value, dtype }) => {
      if (!Number.isFinite(value)) {
        return mismatch(
          "type/not-finite",
          `${Number.isNaN(value) ? "what is computed here" : value} is not a finite number`,
          {
            inputs: [],
            help: "use a large finite number",
          },
        );
      }
      if (!fits(value, dtype))
        return mismatch("type/constant", `${value} is not a value of ${dtype}`, {
          inputs: [],
          help: dtype === "u32" ? "u32 holds 0 to 4294967295" : "i32 holds -2147483648 to 2147483647",
        });
      return { dtype, axes: [] };
    },
    evaluate: (_inputs, { value }) => ({ axes: [], data: Float64Array.of(value) }),
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [{ attrs: { value: 2.5, dtype: "f32" }, inputs: [], output: [2.5] }],
  },
  iota: {
    infer: (_inputs, { axis }) => ({ dtype: "u32", axes: [axis] }),
    evaluate: (_inputs, { axis }, _type, sizes) => countUp(axis.name, sizes(axis.size)),
    vjp: () => [],
    // Along time an index is a place in the whole sequence, which a single step does not know; `position` does.
    time: ({ axis }) => (axis.name === TIME ? "future" : "pointwise"),
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [{ attrs: { axis: { name: "D", size: Dim.of(3), origin: null } }, inputs: [], output: [0, 1, 2] }],
  },
  position: {
    infer: (_inputs, { axis }) => ({ dtype: "u32", axes: [axis] }),
    evaluate: (_inputs, { axis }, _type, sizes) => countUp(axis.name, sizes(axis.size)),
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [{ attrs: { axis: { name: TIME, size: Dim.of(2), origin: null } }, inputs: [], output: [0, 1] }],
  },
  sequence: {
    infer: (_inputs, { axis }) => ({ dtype: "u32", axes: [axis] }),
    // The oracle runs one sequence.
    evaluate: (_inputs, { axis }, _type, sizes) => ({
      axes: [{ name: axis.name, size: sizes(axis.size) }],
      data: new Float64Array(sizes(axis.size)),
    }),
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [{ attrs: { axis: { name: TIME, size: Dim.of(2), origin: null } }, inputs: [], output: [0, 0] }],
  },
  length: {
    infer: (_inputs, { axis }) => ({ dtype: "u32", axes: [axis] }),
    evaluate: (_inputs, { axis }, _type, sizes) => {
      const size = sizes(axis.size);
      return { axes: [{ name: axis.name, size }], data: new Float64Array(size).fill(size) };
    },
    vjp: () => [],
    // Declared before the sequence begins, so that no token looks at later ones.
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [{ attrs: { axis: { name: TIME, size: Dim.of(2), origin: null } }, inputs: [], output: [2, 2] }],
  },
  draw: {
    infer: () => ({ dtype: "u32", axes: [] }),
    evaluate: () => ({ axes: [], data: new Float64Array(1) }),
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    // A run puts its count in the place of this before anything is lowered.
    lowering: { kind: "map", scalar: (_operands, _attrs, _dtype, width) => (width === 1 ? "0u" : "vec4<u32>()") },
    samples: [{ attrs: {}, inputs: [], output: [0] }],
  },
  values: {
    infer: (_inputs, { axis, values }) =>
      (axis.size.value ?? values.length) === values.length
        ? { dtype: "f32", axes: [axis] }
        : mismatch(
            "shape/list-size",
            `the list has ${values.length} entries, and \`${axis.name}\` is ${axis.size.key}`,
            {
              inputs: [],
              help: "give as many numbers as the axis is long",
            },
          ),
    evaluate: (_inputs, { axis, values }) => ({
      axes: [{ name: axis.name, size: values.length }],
      data: Float64Array.from(values),
    }),
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [
      {
        attrs: { axis: { name: "D", size: Dim.of(3), origin: null }, values: [1, -0.5, 2] },
        inputs: [],
        output: [1, -0.5, 2],
      },
    ],
  },
} satisfies Rows<"input" | "param" | "constant" | "iota" | "position" | "sequence" | "length" | "draw" | "values">;

function bound<O extends "input" | "param">(what: O): OpDef<O> {
  return {
    infer: (_inputs, { type }) => distinctAxes(type.dtype, type.axes, []),
    evaluate: () => {
      throw new Error(`an ${what} has no value of its own; the interpreter binds it`);
    },
    vjp: () => [],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "source" },
    samples: [],
  };
}

function fits(value: number, dtype: string): boolean {
  switch (dtype) {
    case "f32":
      return true;
    case "bool":
      return value === 0 || value === 1;
    case "u32":
      return value === value >>> 0;
    default:
      return value === (value | 0);
  }
}

function countUp(name: string, size: number): Value {
  return { axes: [{ name, size }], data: Float64Array.from({ length: size }, (_, i) => i) };
}
