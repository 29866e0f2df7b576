/**
 * Recurrences along time: a value some positions earlier, and linear recurrences, real or complex. Both keep a state between steps;
 * before a sequence begins it is zero. Integers wrap as on the GPU. `reverse` and a negative delay look ahead: gradients are made of them.
 */
import type { Attrs } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import type { Node } from "../graph/node.ts";
import { scalars } from "../graph/scalar.ts";
import type { DType } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Shorthands } from "./shorthands.ts";
import type { Rows, Value } from "./define.ts";
import { isMismatch } from "./mismatch.ts";
import { fitGradient } from "./gradient.ts";
import { axisOf, checkDtypes, checkHas, checkRow, elementCount, joinTypes, mismatch, one, two } from "./typing.ts";
import { countElements, offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

const steps = { axes: "T=3 D=2", data: [1, 2, 3, 4, 5, 6] };

export const recur = {
  delay: {
    infer: (inputs) => checkHas(one(inputs), 0, [TIME]) ?? checkRow(one(inputs), 0) ?? one(inputs),
    evaluate: (inputs, { by }) => {
      const x = one(inputs);
      const [stride, length] = [strideOf(x, TIME), sizeOf(x, TIME)];
      const data = x.data.map((_, i) => {
        const from = (Math.floor(i / stride) % length) - by;
        return from >= 0 && from < length ? x.data[i - by * stride]! : 0;
      });
      return { axes: x.axes, data };
    },
    vjp: (b, node, ct) => [ct.type.dtype === "f32" ? b.delay(ct, -node.attrs.by) : null],
    time: ({ by }) => (by > 0 ? "causal" : by < 0 ? "future" : "pointwise"),
    states: (node) => {
      const { by, reach = by } = node.attrs;
      const row = one(node.inputs).type.axes.filter((a) => a.name !== TIME);
      return by > 0 ? [{ part: "x", row, rows: { kind: "last", count: reach } }] : [];
    },
    flops: () => Dim.of(0),
    lowering: { kind: "delay" },
    samples: [
      { attrs: { by: 1, state: null }, inputs: [steps], output: [0, 0, 1, 2, 3, 4] },
      { attrs: { by: -2, state: null }, inputs: [steps], output: [5, 6, 0, 0, 0, 0] },
    ],
  },
  scan: {
    infer: (inputs, { pair }) => {
      const joined =
        checkDtypes(inputs, pair === null ? ["f32", "u32", "i32"] : ["f32"]) ??
        joinTypes(inputs[0]?.dtype ?? "f32", inputs);
      if (isMismatch(joined)) return joined;
      const missing =
        checkHas(joined, 1, [TIME, ...(pair === null ? [] : [pair])]) ?? checkRow(inputs[0]!, 0) ?? checkRow(joined, 1);
      if (missing !== null) return missing;
      const size = pair === null ? 2 : axisOf(joined, pair).size.value;
      if (size === 2 || size === null) return joined;
      const message = `axis \`${pair}\` holds real and imaginary parts, so it is 2, not ${size}`;
      return mismatch("shape/pair", message, { axis: pair ?? TIME, inputs: [0, 1] });
    },
    evaluate: (inputs, attrs, type, sizes) => {
      const [a, b] = two(inputs);
      const axes = sizedAxes(type, sizes);
      const out: Value = { axes, data: new Float64Array(countElements(axes)) };
      evaluateScan(a, b, attrs, type.dtype, out);
      return out;
    },
    vjp: scanGradient,
    time: ({ reverse }) => (reverse ? "future" : "causal"),
    states: (node) => {
      const row = node.type.axes.filter((a) => a.name !== TIME);
      return node.attrs.reverse ? [] : [{ part: "h", row, rows: { kind: "last", count: 1 } }];
    },
    flops: (_inputs, { pair }, out) => elementCount(out).times(Dim.of(pair === null ? 2 : 4)),
    lowering: { kind: "scan" },
    samples: [
      {
        attrs: { pair: null, reverse: false, state: null },
        inputs: [
          { axes: "T=3", data: [9, 2, 0.5] },
          { axes: "T=3 D=2", data: [1, 2, 3, 4, 5, 6] },
        ],
        output: [1, 2, 5, 8, 7.5, 10],
      },
      {
        attrs: { pair: null, reverse: true, state: null },
        inputs: [
          { axes: "D=2", data: [2, 0] },
          { axes: "T=3 D=2", data: [1, 2, 3, 4, 5, 6] },
        ],
        output: [27, 2, 13, 4, 5, 6],
      },
      {
        attrs: { pair: null, reverse: false, state: null },
        inputs: [
          { axes: "T=3", dtype: "u32", data: [0, 3, 2] },
          { axes: "T=3", dtype: "u32", data: [0x80000001, 1, 1] },
        ],
        output: [0x80000001, 0x80000004, 9],
      },
      {
        // Multiplied by i at each step.
        attrs: { pair: "P", reverse: false, state: null },
        inputs: [
          { axes: "P=2", data: [0, 1] },
          { axes: "T=3 P=2", data: [1, 2, 0, 0, 3, 0] },
        ],
        output: [1, 2, -2, 1, 2, -2],
      },
    ],
  },
} satisfies Rows<"delay" | "scan">;

function evaluateScan(a: Value, b: Value, { pair, reverse }: Attrs["scan"], dtype: DType, out: Value): void {
  const { add, mul } = scalars;
  const others = out.axes.filter((x) => x.name !== TIME && x.name !== pair);
  const length = sizeOf(out, TIME);
  const [atA, atB, atOut] = [a, b, out].map((x) => ({
    start: offsetsOver(x, others),
    time: strideOf(x, TIME),
    imaginary: pair === null ? 0 : strideOf(x, pair),
  })) as [Place, Place, Place];
  for (let r = 0; r < atOut.start.length; r++) {
    let [re, im] = [0, 0];
    for (let i = 0; i < length; i++) {
      const t = reverse ? length - 1 - i : i;
      const [pa, pb, po] = [atA, atB, atOut].map((p) => p.start[r]! + t * p.time) as [number, number, number];
      if (pair === null) re = add.value(mul.value(a.data[pa]!, re, dtype), b.data[pb]!, dtype);
      else {
        const [x, y] = [a.data[pa]!, a.data[pa + atA.imaginary]!];
        [re, im] = [x * re - y * im + b.data[pb]!, x * im + y * re + b.data[pb + atB.imaginary]!];
        out.data[po + atOut.imaginary] = im;
      }
      out.data[po] = re;
    }
  }
}

interface Place {
  readonly start: Int32Array;
  readonly time: number;
  readonly imaginary: number;
}

/** With g the recurrence of the gradient backwards, g_t = ct_t + ā_{t+1} g_{t+1}: that of b is g, that of a is g h̄_{t-1}. */
function scanGradient(b: Shorthands, node: Node<"scan">, ct: Node): readonly (Node | null)[] {
  if (ct.type.dtype !== "f32") return [null, null];
  const { pair, reverse } = node.attrs;
  const [a, x] = two(node.inputs);
  const by = reverse ? 1 : -1;
  const conjugate = (y: Node): Node => (pair === null ? y : b.times(y, signs(b, y, pair, 1, -1)));
  const carried = conjugate(a.type.axes.some((axis) => axis.name === TIME) ? b.delay(a, by) : a);
  const g = b.must("scan", [carried, ct], { pair, reverse: !reverse, state: null });
  const before = conjugate(b.delay(node, -by));
  const da = pair === null ? b.times(g, before) : multiply(b, g, before, pair);
  return [fitGradient(b, da, a.type), fitGradient(b, g, x.type)];
}

/** Complex product along an axis of real and imaginary parts. */
function multiply(b: Shorthands, x: Node, y: Node, pair: string): Node {
  const part = (i: 0 | 1): Node => b.sum(b.times(x, signs(b, x, pair, 1 - i, i)), [pair]);
  const turned = b.times(b.roll(y, pair, 1), signs(b, y, pair, -1, 1));
  return b.plus(b.times(part(0), y), b.times(part(1), turned));
}

/** `first` and `second` along the pair axis. */
function signs(b: Shorthands, like: Node, pair: string, first: number, second: number): Node {
  const i = b.cast(b.iota(axisOf(like.type, pair)), "f32");
  return b.plus(b.times(i, second - first), first);
}
