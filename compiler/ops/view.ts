/**
 * Views: the same elements under another index. An index expression is WGSL u32 text; a symbolic size appears in it by
 * its symbol's name, which the emitter binds.
 */
import type { Axis } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import { Dim } from "../graph/dim.ts";
import type { Rows, Sample } from "./define.ts";
import { fitGradient } from "./gradient.ts";
import { axisOf, checkHas, distinctAxes, mismatch, one, replaceAxis } from "./typing.ts";
import { arrange, offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

type View = "rename" | "split" | "merge" | "slice" | "roll" | "broadcast" | "transpose";

const free = { flops: () => Dim.of(0) };
const six = [1, 2, 3, 4, 5, 6];

export const view = {
  rename: {
    ...free,
    infer: (inputs, { from, to }) => {
      const x = one(inputs);
      return checkHas(x, 0, [from]) ?? distinctAxes(x.dtype, replaceAxis(x, from, [{ ...axisOf(x, from), name: to }]));
    },
    evaluate: (inputs, _attrs, type, sizes) => ({ axes: sizedAxes(type, sizes), data: one(inputs).data }),
    vjp: (b, { attrs }, ct) => [b.rename(ct, attrs.to, attrs.from)],
    time: ({ from, to }) => touchesTime(from, to),
    lowering: { kind: "view", index: (out, { from, to }) => relabel(out, to, [[from, (i) => i]]) },
    samples: [sample({ from: "D", to: "E" }, "T=2 D=3", six, six)],
  },
  split: {
    ...free,
    infer: (inputs, { axis, into }) => {
      const x = one(inputs);
      const missing = checkHas(x, 0, [axis]);
      if (missing !== null) return missing;
      const product = Dim.product(into.map((a) => a.size));
      if (!product.equals(axisOf(x, axis).size)) return wrongProduct(axisOf(x, axis), into, product);
      return distinctAxes(x.dtype, replaceAxis(x, axis, into));
    },
    evaluate: (inputs, _attrs, type, sizes) => ({ axes: sizedAxes(type, sizes), data: one(inputs).data }),
    vjp: (b, node, ct) => {
      const { axis, into } = node.attrs;
      const labels = into.map((a) => a.name);
      return [b.merge(ct, labels, axisOf(one(node.inputs).type, axis))];
    },
    time: ({ axis, into }) => touchesTime(axis, ...into.map((a) => a.name)),
    lowering: {
      kind: "view",
      index: (out, { axis, into }, _input, size) => {
        const index = into.reduce((sum, a) => {
          const i = read(out, a.name);
          return sum === "" ? i : `(${sum} * ${size(a.size)} + ${i})`;
        }, "");
        const rest = new Map([...out].filter(([label]) => !into.some((a) => a.name === label)));
        return rest.set(axis, index === "" ? "0u" : index);
      },
    },
    samples: [sample({ axis: "D", into: [axis("A", 2), axis("B", 3)] }, "D=6", six, six)],
  },
  merge: {
    ...free,
    infer: (inputs, { axes, to }) => {
      const x = one(inputs);
      const missing = checkHas(x, 0, axes);
      if (missing !== null) return missing;
      const parts = axes.map((name) => axisOf(x, name));
      const product = Dim.product(parts.map((a) => a.size));
      if (!product.equals(to.size)) return wrongProduct(to, parts, product);
      return distinctAxes(
        x.dtype,
        x.axes.flatMap((a) => (a.name === axes[0] ? [to] : axes.includes(a.name) ? [] : [a])),
      );
    },
    evaluate: (inputs, { axes }, type, sizes) => {
      const x = one(inputs);
      const parts = axes.map((name) => ({ name, size: sizeOf(x, name) }));
      const order = x.axes.flatMap((a) => (a.name === axes[0] ? parts : axes.includes(a.name) ? [] : [a]));
      return { axes: sizedAxes(type, sizes), data: arrange(x, order).data };
    },
    vjp: (b, node, ct) => {
      const { axes, to } = node.attrs;
      const { type } = one(node.inputs);
      return [
        fitGradient(
          b,
          b.split(
            ct,
            to.name,
            axes.map((name) => axisOf(type, name)),
          ),
          type,
        ),
      ];
    },
    time: ({ axes, to }) => touchesTime(to.name, ...axes),
    lowering: {
      kind: "view",
      index: (out, { axes, to }, input, write) => {
        // Row-major: the last axis runs fastest.
        let inner = Dim.of(1);
        const parts = [...axes].reverse().map((name, k): [string, (i: string) => string] => {
          const { size } = axisOf(input, name);
          const [below, last] = [inner, k === axes.length - 1];
          inner = inner.times(size);
          return [
            name,
            (i) => {
              const quotient = below.value === 1 ? i : `(${i} / ${write(below)})`;
              return last ? quotient : `(${quotient} % ${write(size)})`;
            },
          ];
        });
        return relabel(out, to.name, parts);
      },
    },
    samples: [
      sample({ axes: ["T", "D"], to: axis("E", 6) }, "T=2 D=3", six, six),
      sample({ axes: ["D", "T"], to: axis("E", 6) }, "T=2 D=3", six, [1, 4, 2, 5, 3, 6]),
    ],
  },
  slice: {
    ...free,
    infer: (inputs, { axis, start, to }) => {
      const x = one(inputs);
      const missing = checkHas(x, 0, [axis]);
      if (missing !== null) return missing;
      const { size } = axisOf(x, axis);
      const left = size.minus(to.size).minus(Dim.of(start)).value;
      if (start < 0 || (left !== null && left < 0)) {
        const end = Dim.of(start).plus(to.size).key;
        return mismatch(
          "shape/slice-range",
          `the range ${start} ..< ${end} leaves axis \`${axis}\`, which is ${size.key}`,
          {
            axis,
            inputs: [0],
          },
        );
      }
      return distinctAxes(x.dtype, replaceAxis(x, axis, [to]));
    },
    evaluate: (inputs, { axis, start, to }, type, sizes) => {
      const x = one(inputs);
      const axes = sizedAxes(type, sizes);
      const over = axes.map((a) => (a.name === to.name ? { name: axis, size: a.size } : a));
      const first = start * strideOf(x, axis);
      return { axes, data: Float64Array.from(offsetsOver(x, over), (at) => x.data[at + first]!) };
    },
    vjp: (b, node, ct) => {
      const { axis, start, to } = node.attrs;
      const whole = axisOf(one(node.inputs).type, axis);
      const before = Dim.of(start);
      const zeros = (size: Dim) => b.broadcast(b.constant(0), [{ ...whole, size }]);
      const after = whole.size.minus(to.size).minus(before);
      const parts = [b.rename(ct, to.name, axis)];
      if (start > 0) parts.unshift(zeros(before));
      if (after.value !== 0) parts.push(zeros(after));
      return [b.concat(parts, axis, whole)];
    },
    time: ({ axis, to }) => touchesTime(axis, to.name),
    lowering: {
      kind: "view",
      index: (out, { axis, start, to }) =>
        relabel(out, to.name, [[axis, (i) => (start === 0 ? i : `(${i} + ${start}u)`)]]),
    },
    samples: [
      sample({ axis: "D", start: 1, to: axis("E", 2) }, "T=2 D=3", six, [2, 3, 5, 6]),
      sample({ axis: "T", start: 0, to: axis("T", 1) }, "T=2 D=3", six, [1, 2, 3]),
    ],
  },
  roll: {
    ...free,
    infer: (inputs, { axis }) => checkHas(one(inputs), 0, [axis]) ?? one(inputs),
    evaluate: (inputs, { axis, by }) => {
      const x = one(inputs);
      const [size, stride] = [sizeOf(x, axis), strideOf(x, axis)];
      const data = Float64Array.from(x.data, (_, at) => {
        const i = Math.floor(at / stride) % size;
        return x.data[at + (((((i + by) % size) + size) % size) - i) * stride]!;
      });
      return { axes: x.axes, data };
    },
    vjp: (b, { attrs }, ct) => [b.roll(ct, attrs.axis, -attrs.by)],
    time: ({ axis }) => touchesTime(axis),
    lowering: {
      kind: "view",
      index: (out, { axis, by }, input, write) => {
        const size = write(axisOf(input, axis).size);
        const shift = by >= 0 ? `${by}u` : `${size} - ${-by}u % ${size}`;
        return new Map(out).set(axis, `((${read(out, axis)} + ${shift}) % ${size})`);
      },
    },
    samples: [
      sample({ axis: "D", by: 1 }, "T=2 D=3", six, [2, 3, 1, 5, 6, 4]),
      sample({ axis: "D", by: -4 }, "T=2 D=3", six, [3, 1, 2, 6, 4, 5]),
      sample({ axis: "T", by: 1 }, "T=2 D=3", six, [4, 5, 6, 1, 2, 3]),
    ],
  },
  broadcast: {
    ...free,
    infer: (inputs, { axes }) => distinctAxes(one(inputs).dtype, [...axes, ...one(inputs).axes]),
    evaluate: (inputs, _attrs, type, sizes) => arrange(one(inputs), sizedAxes(type, sizes)),
    vjp: (b, { attrs }, ct) => [
      b.sum(
        ct,
        attrs.axes.map((a) => a.name),
      ),
    ],
    time: () => "pointwise",
    lowering: {
      kind: "view",
      index: (out, { axes }) => new Map([...out].filter(([label]) => !axes.some((a) => a.name === label))),
    },
    called: {
      doc: "x with further axes, along which it is constant",
      operands: ["x"],
      brackets: "axes",
      attrs: (axes) => ({ axes }),
    },
    samples: [sample({ axes: [axis("T", 2)] }, "D=3", [1, 2, 3], [1, 2, 3, 1, 2, 3])],
  },
  transpose: {
    ...free,
    infer: (inputs, { order }) => {
      const x = one(inputs);
      const forgotten = x.axes.find((a) => !order.includes(a.name));
      if (forgotten !== undefined) {
        return mismatch("shape/transpose-order", `the order leaves out axis \`${forgotten.name}\``, {
          axis: forgotten.name,
          inputs: [0],
        });
      }
      return (
        checkHas(x, 0, order) ??
        distinctAxes(
          x.dtype,
          order.map((name) => axisOf(x, name)),
        )
      );
    },
    evaluate: (inputs, _attrs, type, sizes) => arrange(one(inputs), sizedAxes(type, sizes)),
    vjp: (b, node, ct) => [fitGradient(b, ct, one(node.inputs).type)],
    time: () => "pointwise",
    lowering: { kind: "view", index: (out) => out },
    samples: [sample({ order: ["D", "T"] }, "T=2 D=3", six, [1, 4, 2, 5, 3, 6])],
  },
} satisfies Rows<View>;

function wrongProduct(whole: Axis, parts: readonly Axis[], product: Dim) {
  const list = parts.map((a) => `${a.name}=${a.size.key}`).join(", ");
  return mismatch(
    "shape/split-product",
    `axis \`${whole.name}\` is ${whole.size.key}, but [${list}] multiplies to ${product.key}`,
    { axis: whole.name, inputs: [0] },
  );
}

function touchesTime(...labels: readonly string[]): "future" | "pointwise" {
  return labels.includes(TIME) ? "future" : "pointwise";
}

/** The index with one label replaced by others computed from it. */
function relabel(
  out: ReadonlyMap<string, string>,
  label: string,
  by: readonly (readonly [string, (i: string) => string])[],
): ReadonlyMap<string, string> {
  const rest = new Map([...out].filter(([other]) => other !== label));
  for (const [name, index] of by) rest.set(name, index(read(out, label)));
  return rest;
}

function read(out: ReadonlyMap<string, string>, label: string): string {
  const index = out.get(label);
  if (index === undefined) throw new Error(`no index along ${label}`);
  return index;
}

function axis(name: string, size: number): Axis {
  return { name, size: Dim.of(size), origin: null };
}

function sample<O extends View>(
  attrs: Sample<O>["attrs"],
  axes: string,
  data: readonly number[],
  output: readonly number[],
): Sample<O> {
  return { attrs, inputs: [{ axes, data }], output };
}
