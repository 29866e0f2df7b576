/**
 * The delta rule: a memory S [V, C] per head, in which each token replaces what its key finds by a share β of its value, and which its
 * query then reads: S_t = S_{t-1} + β_t (v_t - S_{t-1} k_t) k_tᵀ, o_t = S_t q_t. Yang et al. (2024), arXiv 2406.06484.
 */
import type { Attrs } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import type { Node } from "../graph/node.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import { valueChannel } from "./attend.ts";
import type { Shorthands } from "./shorthands.ts";
import type { Rows, Value } from "./define.ts";
import type { Mismatch } from "./mismatch.ts";
import { isMismatch } from "./mismatch.ts";
import { fitGradient, freshLabel } from "./gradient.ts";
import { axisOf, checkDtypes, checkHas, checkRow, joinTypes, mismatch, replaceAxis, withoutAxes } from "./typing.ts";
import { countElements, offsetsOver, sizeOf, sizedAxes, strideOf } from "./values.ts";

export const delta = {
  delta_rule: {
    infer: (inputs, attrs) => inferDelta(inputs, attrs),
    evaluate: (inputs, attrs, type, sizes) => {
      const axes = sizedAxes(type, sizes);
      const out: Value = { axes, data: new Float64Array(countElements(axes)) };
      evaluateDelta(four(inputs), attrs, out);
      return out;
    },
    vjp: deltaGradient,
    time: ({ reverse }) => (reverse ? "future" : "causal"),
    states: (node) => {
      const { heads, value, channel } = deltaAxes(node);
      if (node.attrs.reverse) return [];
      return [{ part: "s", row: [...heads, channel, value], rows: { kind: "last", count: 1 } }];
    },
    flops: (inputs, { channel }, out) =>
      Dim.product([Dim.of(6), axisOf(four(inputs)[0], channel).size, ...out.axes.map((a) => a.size)]),
    lowering: { kind: "memory" },
    samples: [
      {
        // One channel: S goes 2, 2 + ½ (6 - 2), and is read twice and once.
        attrs: { channel: "C", part: "out", reverse: false, state: null },
        inputs: [
          { axes: "T=2 C=1", data: [2, 1] },
          { axes: "T=2 C=1", data: [1, 1] },
          { axes: "T=2 V=1", data: [2, 6] },
          { axes: "T=2", data: [1, 0.5] },
        ],
        output: [4, 4],
      },
      {
        attrs: { channel: "C", part: "out", reverse: false, state: null },
        inputs: [
          { axes: "T=3 H=1 C=2", data: [1, 0, 0.5, 1, -1, 2] },
          { axes: "T=3 H=1 C=2", data: [0.6, 0.8, 1, 0, 0.8, -0.6] },
          { axes: "T=3 H=1 V=2", data: [1, -1, 2, 0.5, -3, 1] },
          { axes: "T=3 H=1", data: [0.5, 1, 0.25] },
        ],
        output: [0.3, -0.3, 1.4, -0.15, 0.98, -1.48],
      },
      {
        attrs: { channel: "C", part: "out", reverse: true, state: null },
        inputs: [
          { axes: "T=2 C=1", data: [1, 2] },
          { axes: "T=2 C=1", data: [1, 1] },
          { axes: "T=2 V=1", data: [6, 2] },
          { axes: "T=2", data: [0.5, 1] },
        ],
        output: [4, 4],
      },
    ],
  },
} satisfies Rows<"delta_rule">;

/** Axes of the memory: heads in the order of the result, the value's channel, the key's. */
export function deltaAxes(node: Node<"delta_rule">): {
  readonly heads: readonly Axis[];
  readonly value: Axis;
  readonly channel: Axis;
} {
  const [q, , v] = four(node.inputs.map((n) => n.type));
  const value = valueChannel(q, v, node.attrs.channel);
  if (isMismatch(value)) throw new Error(value.message);
  const heads = node.type.axes.filter((a) => a.name !== TIME && a.name !== value.name);
  return { heads, value, channel: axisOf(q, node.attrs.channel) };
}

function inferDelta(inputs: readonly TensorType[], { channel }: Attrs["delta_rule"]): TensorType | Mismatch {
  const [q, k, v, beta] = four(inputs);
  const wrong =
    checkDtypes(inputs, ["f32"]) ??
    checkHas(q, 0, [TIME, channel]) ??
    checkHas(k, 1, [TIME, channel]) ??
    checkHas(v, 2, [TIME]) ??
    checkHas(beta, 3, [TIME]) ??
    inputs.reduce<Mismatch | null>((found, x, i) => found ?? checkRow(x, i), null);
  if (wrong !== null) return wrong;
  const alone = [...q.axes, ...k.axes].find((a) => !hasAxis(q, a.name) || !hasAxis(k, a.name));
  const value = valueChannel(q, v, channel);
  if (isMismatch(value)) return value;
  const apart = alone ?? beta.axes.find((a) => a.name === channel || a.name === value.name || !hasAxis(q, a.name));
  if (apart !== undefined)
    return mismatch(
      "shape/delta-axis",
      `queries, keys and rates share their heads, but \`${apart.name}\` is not everywhere`,
      {
        axis: apart.name,
        inputs: alone === undefined ? [3, 0] : [0, 1],
      },
    );
  const sizes = joinTypes("f32", [q, k, beta, { dtype: "f32", axes: withoutAxes(v, [value.name]) }]);
  return isMismatch(sizes) ? sizes : { dtype: "f32", axes: replaceAxis(q, channel, [value]) };
}

function evaluateDelta(inputs: Four<Value>, { channel, part, reverse }: Attrs["delta_rule"], out: Value): void {
  const [q, k, v, beta] = inputs;
  const heads = q.axes.filter((a) => a.name !== TIME && a.name !== channel);
  const value = out.axes.find((a) => a.name !== TIME && !heads.some((h) => h.name === a.name))!;
  const [length, width] = [sizeOf(q, TIME), sizeOf(q, channel)];
  const at = [q, k, v, beta, out].map((x, i) => ({
    heads: offsetsOver(x, heads),
    time: strideOf(x, TIME),
    channel: strideOf(x, i === 2 || i === 4 ? value.name : channel),
  }));
  const [atQ, atK, atV, , atOut] = at as [Place, Place, Place, Place, Place];
  const memory = new Float64Array(width * value.size);
  for (let h = 0; h < atQ.heads.length; h++) {
    memory.fill(0);
    for (let i = 0; i < length; i++) {
      const t = reverse ? length - 1 - i : i;
      const [pq, pk, pv, pb, po] = at.map((p) => p.heads[h]! + t * p.time) as [number, number, number, number, number];
      const read = (from: Value, start: number, step: number, e: number): number => {
        let sum = 0;
        for (let c = 0; c < width; c++) sum += memory[c * value.size + e]! * from.data[start + c * step]!;
        return sum;
      };
      for (let e = 0; e < value.size; e++) {
        const error = v.data[pv + e * atV.channel]! - read(k, pk, atK.channel, e);
        const change = beta.data[pb]! * error;
        for (let c = 0; c < width; c++) memory[c * value.size + e]! += change * k.data[pk + c * atK.channel]!;
        out.data[po + e * atOut.channel] = part === "error" ? error : read(q, pq, atQ.channel, e);
      }
    }
  }
}

interface Place {
  readonly heads: Int32Array;
  readonly time: number;
  readonly channel: number;
}

/**
 * With D_t = β_t E_t what a token writes, o_i is Σ_{j ≤ i} (k_j · q_i) D_j, and D solves a triangular system in k and β, whose adjoint W is the
 * same recurrence backwards. The sums over pairs of positions are written out.
 */
function deltaGradient(b: Shorthands, node: Node<"delta_rule">, ct: Node): readonly (Node | null)[] {
  const { channel, part, reverse } = node.attrs;
  if (part === "error") throw new Error("the delta rule's errors have no gradient of their own");
  const [q, k, v, beta] = four(node.inputs);
  const { value } = deltaAxes(node);
  const error = (to: Node, backwards: boolean): Node =>
    b.must("delta_rule", [q, k, to, beta], { channel, part: "error", reverse: backwards, state: null });
  const past = { ...axisOf(q.type, TIME), name: freshLabel(`${TIME}'`, [q.type, k.type, v.type, beta.type]) };
  const earlier = (x: Node): Node => b.rename(x, TIME, past.name);
  const now = (x: Node): Node => b.rename(x, past.name, TIME);
  const [i, j] = [b.iota(axisOf(q.type, TIME)), b.iota(past)];
  const seen = (x: Node, strictly: boolean): Node =>
    b.select(reverse ? (strictly ? b.gt(j, i) : b.ge(j, i)) : strictly ? b.lt(j, i) : b.le(j, i), x, 0);

  const written = b.times(beta, error(v, reverse));
  const [keys, writes] = [earlier(k), earlier(written)];
  const reads = seen(b.dot(ct, writes, [value.name]), false);
  const scores = seen(b.dot(q, keys, [channel]), false);
  const w = error(now(b.dot(scores, ct, [TIME])), !reverse);
  const bent = seen(b.times(beta, b.dot(w, writes, [value.name])), true);
  const dk = b.minus(now(b.dot(reads, q, [TIME])), b.plus(b.dot(bent, keys, [past.name]), now(b.dot(bent, k, [TIME]))));
  return [
    fitGradient(b, b.dot(reads, keys, [past.name]), q.type),
    fitGradient(b, dk, k.type),
    fitGradient(b, b.times(beta, w), v.type),
    fitGradient(b, b.sum(b.times(w, error(v, reverse)), [value.name]), beta.type),
  ];
}

type Four<A> = readonly [A, A, A, A];

function four<A>(list: readonly A[]): Four<A> {
  if (list.length !== 4) throw new Error(`four operands expected, got ${list.length}`);
  return list as unknown as Four<A>;
}
