/**
 * Attention over the time axis, by name: heads and groups are axes that keys and values may share. The kernel is a
 * template; the gradient is written with primitive ops over a second time axis and recomputes the probabilities.
 */
import { Dim } from "../graph/dim.ts";
import type { Attrs } from "../graph/attrs.ts";
import { cacheAxes, valuesInKeys } from "../graph/cache.ts";
import type { Node } from "../graph/node.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { TIME, hasAxis } from "../graph/type.ts";
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
import { countElements, offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

/** What a masked score becomes: far below any real one, and finite. */
const MASKED = -1e30;

export const attention = {
  attend: {
    infer: (inputs, attrs) => inferAttend(inputs, attrs),
    evaluate: (inputs, attrs, type, sizes) => {
      const out: Value = {
        axes: sizedAxes(type, sizes),
        data: new Float64Array(countElements(sizedAxes(type, sizes))),
      };
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
    flops: (inputs, { channel }) => {
      const [q, , v] = three(inputs.slice(0, 3));
      const pairs = Dim.product(withoutAxes(q, [channel]).map((a) => a.size)).times(axisOf(q, TIME).size);
      const width = axisOf(q, channel).size;
      const value = valueChannel(q, v, channel);
      return Dim.of(2)
        .times(pairs)
        .times(isMismatch(value) ? width : width.plus(value.size));
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
    ],
  },
} satisfies Rows<"attend">;

function inferAttend(inputs: readonly TensorType[], { channel }: Attrs["attend"]): TensorType | Mismatch {
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
  return isMismatch(sizes) ? sizes : distinctAxes("f32", replaceAxis(q, channel, [value]), [0, 2]);
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
  const { channel, causal, window, scale, softcap, chunk = null } = attrs;
  const heads = q.axes.filter((a) => a.name !== TIME && a.name !== channel);
  const valueAxis = out.axes.find((a) => a.name !== TIME && !heads.some((h) => h.name === a.name));
  if (valueAxis === undefined) throw new Error("attend has no value channel");
  const [length, width] = [sizeOf(q, TIME), sizeOf(q, channel)];
  const [atQ, atK, atV, atOut] = [q, k, v, out].map((x) => ({
    heads: offsetsOver(x, heads),
    time: strideOf(x, TIME),
    channel: strideOf(x, x === v || x === out ? valueAxis.name : channel),
  })) as [Place, Place, Place, Place];
  const sinks = sink === null ? null : offsetsOver(sink, heads);
  const scores = new Float64Array(length);
  for (let h = 0; h < atQ.heads.length; h++) {
    for (let i = 0; i < length; i++) {
      const first = Math.max(0, window === null ? 0 : i - window + 1, chunk === null ? 0 : i - (i % chunk));
      const last = causal ? i : length - 1;
      const lost = sinks === null ? -Infinity : sink!.data[sinks[h]!]!;
      let largest = lost;
      for (let j = first; j <= last; j++) {
        let s = 0;
        const [rowQ, rowK] = [atQ.heads[h]! + i * atQ.time, atK.heads[h]! + j * atK.time];
        for (let c = 0; c < width; c++) s += q.data[rowQ + c * atQ.channel]! * k.data[rowK + c * atK.channel]!;
        s *= scale;
        scores[j] = softcap === null ? s : softcap * Math.tanh(s / softcap);
        largest = Math.max(largest, scores[j]!);
      }
      let total = lost === -Infinity ? 0 : Math.exp(lost - largest);
      for (let j = first; j <= last; j++) total += scores[j] = Math.exp(scores[j]! - largest);
      for (let c = 0; c < valueAxis.size; c++) {
        let sum = 0;
        for (let j = first; j <= last; j++) sum += scores[j]! * v.data[atV.heads[h]! + j * atV.time + c * atV.channel]!;
        out.data[atOut.heads[h]! + i * atOut.time + c * atOut.channel] = sum / total;
      }
    }
  }
}

interface Place {
  readonly heads: Int32Array;
  readonly time: number;
  readonly channel: number;
}

function attendGradient(b: Shorthands, node: Node<"attend">, ct: Node): readonly (Node | null)[] {
  const { channel, causal, window, scale, softcap, chunk = null } = node.attrs;
  const [q, k, v] = three(node.inputs.slice(0, 3));
  const [sink] = node.inputs.slice(3);
  const value = valueChannel(q.type, v.type, channel);
  if (isMismatch(value)) throw new Error(value.message);
  const past = { ...axisOf(q.type, TIME), name: freshLabel(`${TIME}'`, [q.type, k.type, v.type]) };
  const [keys, values] = [b.rename(k, TIME, past.name), b.rename(v, TIME, past.name)];

  const raw = b.times(b.dot(q, keys, [channel]), scale);
  const bend = softcap === null ? null : b.tanh(b.over(raw, softcap));
  const scores = bend === null ? raw : b.times(bend, softcap ?? 1);
  const [i, j] = [b.cast(b.iota(axisOf(q.type, TIME)), "i32"), b.cast(b.iota(past), "i32")];
  const seen = [
    ...(causal ? [b.le(j, i)] : []),
    ...(window === null ? [] : [b.lt(b.minus(i, j), window)]),
    ...(chunk === null ? [] : [b.ge(j, b.minus(i, b.must("mod", [i, b.constant(chunk, "i32")], {})))]),
  ];
  const masked = seen.reduce((s, condition) => b.select(condition, s, MASKED), scores);
  const most = b.reduceMax(masked, [past.name]);
  const largest = sink === undefined ? most : b.max(most, sink);
  const weights = b.exp(b.minus(masked, largest));
  const lost = sink === undefined ? null : b.exp(b.minus(sink, largest));
  const kept = b.sum(weights, [past.name]);
  const total = lost === null ? kept : b.plus(kept, lost);
  const p = b.over(weights, total);

  const dp = b.dot(ct, values, [value.name]);
  const mean = b.sum(b.times(p, dp), [past.name]);
  const ds = b.times(p, b.minus(dp, mean));
  const dRaw = b.times(bend === null ? ds : b.times(ds, b.minus(1, b.times(bend, bend))), scale);
  const queriesOnly = (type: TensorType) => dRaw.type.axes.filter((a) => !hasAxis(type, a.name)).map((a) => a.name);
  return [
    fitGradient(b, b.dot(dRaw, keys, [past.name]), q.type),
    fitGradient(b, b.rename(b.dot(dRaw, q, queriesOnly(keys.type)), past.name, TIME), k.type),
    fitGradient(b, b.rename(b.dot(p, ct, queriesOnly(values.type)), past.name, TIME), v.type),
    ...(sink === undefined || lost === null
      ? []
      : [fitGradient(b, b.neg(b.times(b.over(lost, total), mean)), sink.type)]),
  ];
}
