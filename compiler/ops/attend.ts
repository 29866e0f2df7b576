/**
 * Attention over the time axis, by name: heads and groups are axes that keys and values may share. The kernel is a
 * template. So is its gradient, an op of its own (`attend-grad.ts`), which has the probabilities again from the logarithm of each
 * softmax's sum, as in FlashAttention (arXiv 2205.14135, B.4).
 */
import type { Attrs } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import { cacheAxes, valuesInKeys } from "../graph/cache.ts";
import type { Node } from "../graph/node.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import { forEachQuery, headAxes, headPlaces } from "./attend-scores.ts";
import type { Shorthands } from "./shorthands.ts";
import type { Rows, Value } from "./define.ts";
import type { Mismatch } from "./mismatch.ts";
import { isMismatch } from "./mismatch.ts";
import { fitGradient, freshLabel } from "./gradient.ts";
import {
  axisOf,
  checkDtypes,
  checkHas,
  checkRow,
  distinctAxes,
  joinTypes,
  mismatch,
  replaceAxis,
  three,
  withoutAxes,
} from "./typing.ts";
import { countElements, offsetsOver, sizedAxes } from "./values.ts";

export const attention = {
  attend: {
    infer: (inputs, attrs) => inferAttend(inputs, attrs),
    evaluate: (inputs, attrs, type, sizes) => {
      const axes = sizedAxes(type, sizes);
      const out: Value = { axes, data: new Float64Array(countElements(axes)) };
      evaluateAttend(three(inputs.slice(0, 3)), inputs[3] ?? null, attrs, out);
      return out;
    },
    vjp: attendGradient,
    time: ({ causal }) => (causal ? "causal" : "future"),
    states: (node) => {
      const { heads, key, value } = cacheAxes(node);
      const { causal, window, chunk = null } = node.attrs;
      // What looks ahead runs with whole sequences in their steps, all of which is kept.
      const reach = !causal ? null : window === null ? chunk : Math.min(window, chunk ?? window);
      const keys = { part: "k", row: [...heads, key], rows: { kind: "positions", reach } } as const;
      if (valuesInKeys(node)) return [keys];
      return [keys, { part: "v", row: [...heads, value], rows: { kind: "positions", reach } }];
    },
    flops: (inputs, { channel, part }) => {
      const [q, , v] = three(inputs.slice(0, 3));
      const pairs = Dim.product(withoutAxes(q, [channel]).map((a) => a.size)).times(axisOf(q, TIME).size);
      const width = axisOf(q, channel).size;
      const value = valueChannel(q, v, channel);
      return Dim.of(2)
        .times(pairs)
        .times(isMismatch(value) || part === "logsum" ? width : width.plus(value.size));
    },
    lowering: { kind: "attend" },
    samples: [
      {
        // Zero scores: causal means of the values.
        attrs: { channel: "C", causal: true, window: null, scale: 1, softcap: null, state: null },
        inputs: [
          { axes: "T=3 R=1 C=2", data: [0, 0, 0, 0, 0, 0] },
          { axes: "T=3 C=2", data: [1, 2, 3, 4, 5, 6] },
          { axes: "T=3 C=2", data: [3, 6, 9, 0, 0, 3] },
        ],
        output: [3, 6, 6, 3, 4, 3],
      },
      {
        // exp(score) is 1 or 3; the window sees two positions.
        attrs: { channel: "C", causal: true, window: 2, scale: 0.5, softcap: null, state: null },
        inputs: [
          { axes: "T=3 C=1", data: [2, 2, 2] },
          { axes: "T=3 C=1", data: [0, Math.log(3), 0] },
          { axes: "T=3 E=1", data: [4, 8, 12] },
        ],
        output: [4, 7, 9],
      },
      {
        attrs: { channel: "C", causal: false, window: null, scale: 1, softcap: 2, state: null },
        inputs: [
          { axes: "T=2 C=1", data: [1, 0] },
          { axes: "T=2 C=1", data: [2 * Math.atanh(Math.log(3) / 2), 0] },
          { axes: "T=2 C=1", data: [4, 8] },
        ],
        output: [5, 6],
      },
      {
        // Chunks of two positions; exp(sink) is 1 or 2, and exp(score) is 1.
        attrs: { channel: "C", causal: true, window: null, scale: 1, softcap: null, chunk: 2, state: null },
        inputs: [
          { axes: "T=3 R=2 C=1", data: [0, 0, 0, 0, 0, 0] },
          { axes: "T=3 C=1", data: [1, 2, 3] },
          { axes: "T=3 C=1", data: [6, 12, 24] },
          { axes: "R=2", data: [0, Math.log(2)] },
        ],
        output: [3, 2, 6, 4.5, 12, 8],
      },
      {
        // One position, then two, then one again of the next chunk, each of weight 1, beside a sink of 1.
        attrs: {
          channel: "C",
          causal: true,
          window: null,
          scale: 1,
          softcap: null,
          chunk: 2,
          part: "logsum",
          state: null,
        },
        inputs: [
          { axes: "T=3 C=1", data: [0, 0, 0] },
          { axes: "T=3 C=1", data: [1, 2, 3] },
          { axes: "T=3 C=1", data: [6, 12, 24] },
          { axes: "", data: [0] },
        ],
        output: [Math.log(2), Math.log(3), Math.log(2)],
      },
    ],
  },
} satisfies Rows<"attend">;

function inferAttend(inputs: readonly TensorType[], { channel, part }: Attrs["attend"]): TensorType | Mismatch {
  const [q, k, v] = three(inputs.slice(0, 3));
  const [sink] = inputs.slice(3);
  const wrong =
    checkDtypes(inputs, ["f32"]) ??
    checkHas(q, 0, [TIME, channel]) ??
    checkHas(k, 1, [TIME, channel]) ??
    checkHas(v, 2, [TIME]) ??
    inputs.reduce<Mismatch | null>((found, x, i) => found ?? checkRow(x, i), null);
  if (wrong !== null) return wrong;
  const alien = k.axes.find((a) => !hasAxis(q, a.name));
  if (alien !== undefined) {
    return mismatch("shape/attend-axis", `the keys have axis \`${alien.name}\`, which the queries lack`, {
      axis: alien.name,
      inputs: [1, 0],
    });
  }
  const apart = sink?.axes.find((a) => a.name === TIME || a.name === channel || !hasAxis(q, a.name));
  if (apart !== undefined)
    return mismatch("shape/attend-axis", `a sink has heads of the queries only, not \`${apart.name}\``, {
      axis: apart.name,
      inputs: [3, 0],
    });
  const value = valueChannel(q, v, channel);
  if (isMismatch(value)) return value;
  // The value's channel may have the query's label and another size: it takes no part in the comparison.
  const sizes = joinTypes("f32", [
    q,
    k,
    ...(sink === undefined ? [] : [sink]),
    { dtype: "f32", axes: withoutAxes(v, [value.name]) },
  ]);
  if (isMismatch(sizes)) return sizes;
  return distinctAxes("f32", replaceAxis(q, channel, part === "logsum" ? [] : [value]), [0, 2]);
}

/** The axis of the values that the result has in place of the channel. */
export function valueChannel(q: TensorType, v: TensorType, channel: string): Axis | Mismatch {
  const own = v.axes.filter((a) => a.name === channel || !hasAxis(q, a.name));
  const [axis, ...more] = own;
  if (axis !== undefined && more.length === 0) return axis;
  const message =
    axis === undefined
      ? `the values need one axis of their own, such as \`${channel}\``
      : `the values have axes ${own.map((a) => `\`${a.name}\``).join(" and ")}; one of them must be shared with the queries`;
  return mismatch("shape/attend-axis", message, { axis: axis?.name ?? channel, inputs: [2, 0] });
}

function evaluateAttend(
  [q, k, v]: readonly [Value, Value, Value],
  sink: Value | null,
  attrs: Attrs["attend"],
  out: Value,
): void {
  const heads = headAxes(q, attrs.channel);
  const value = v.axes.find((a) => a.name === attrs.channel || !q.axes.some((own) => own.name === a.name));
  if (value === undefined) throw new Error("attend has no value channel");
  const [atV, atOut] = [headPlaces(v, heads, value.name), headPlaces(out, heads, value.name)];
  const sinks = sink === null ? null : offsetsOver(sink, heads);
  forEachQuery(q, k, attrs, ({ head, query, first, last, scores }) => {
    const lost = sinks === null ? -Infinity : sink!.data[sinks[head]!]!;
    let largest = lost;
    for (let j = first; j <= last; j++) largest = Math.max(largest, scores[j]!);
    let total = lost === -Infinity ? 0 : Math.exp(lost - largest);
    for (let j = first; j <= last; j++) total += scores[j] = Math.exp(scores[j]! - largest);
    const row = atOut.heads[head]! + query * atOut.time;
    if (attrs.part === "logsum") {
      out.data[row] = largest + Math.log(total);
      return;
    }
    for (let c = 0; c < value.size; c++) {
      let sum = 0;
      for (let j = first; j <= last; j++)
        sum += scores[j]! * v.data[atV.heads[head]! + j * atV.time + c * atV.channel]!;
      out.data[row + c * atOut.channel] = sum / total;
    }
  });
}

/** The softmax's sum grows by each score's probability; what it loses to a sink, and what its result passes on, is of the same form. */
function attendGradient(b: Shorthands, node: Node<"attend">, ct: Node): readonly (Node | null)[] {
  const { state: _, part, ...attention } = node.attrs;
  const [q, k, v] = three(node.inputs.slice(0, 3));
  const [sink] = node.inputs.slice(3);
  const value = valueChannel(q.type, v.type, attention.channel);
  if (isMismatch(value)) throw new Error(value.message);
  const logsum = b.must("attend", node.inputs, { ...attention, part: "logsum", state: null }, node.origin);
  const outer = part === "logsum" ? b.broadcast(b.constant(0), [value, ...ct.type.axes]) : ct;
  const mean = part === "logsum" ? b.neg(ct) : b.dot(ct, node, [value.name]);
  const label = freshLabel("row", [q.type, v.type]);
  const rows = b.concat(
    [logsum, mean].map((x) => b.broadcast(x, [{ name: label, size: Dim.of(1), origin: null }])),
    label,
    { name: label, size: Dim.of(2), origin: null },
  );
  const gradient = (of: "q" | "k" | "v"): Node =>
    b.must("attend_grad", [q, k, v, outer, rows], { ...attention, part: of }, node.origin);
  return [
    gradient("q"),
    gradient("k"),
    part === "logsum" ? null : gradient("v"),
    ...(sink === undefined ? [] : [fitGradient(b, b.neg(b.times(b.exp(b.minus(sink, logsum)), mean)), sink.type)]),
  ];
}
