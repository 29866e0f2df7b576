/**
 * The gradient of attention by its queries, keys or values. With s_ij a score, p_ij = exp(s_ij - logsum_i) its probability, g_i the
 * gradient of the result and mean_i = Σ g_i · out_i: ds_ij = p_ij (g_i · v_j - mean_i), from there dq_i = Σ_j ds_ij k_j and
 * dk_j = Σ_i ds_ij q_i, both scaled as the scores are; dv_j = Σ_i p_ij g_i. Heads that keys or values share are added up. FlashAttention,
 * arXiv 2205.14135, B.4. A sink's gradient is made of logsum and mean alone, without pairs. Limits: it is not differentiated again.
 */
import type { Attrs } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import type { TensorType } from "../graph/type.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import { valueChannel } from "./attend.ts";
import { forEachQuery, headAxes, headPlaces } from "./attend-scores.ts";
import type { Rows, Value } from "./define.ts";
import type { Mismatch } from "./mismatch.ts";
import { isMismatch } from "./mismatch.ts";
import { axisOf, checkDtypes, checkHas, joinTypes, mismatch, withoutAxes } from "./typing.ts";
import { countElements, sizedAxes } from "./values.ts";

/** Queries, keys, values, the gradient of the result, logsum and mean of each query. */
type Five<A> = readonly [q: A, k: A, v: A, ct: A, rows: A];

const PARTS = ["q", "k", "v"] as const;

export const attentionGradient = {
  attend_grad: {
    infer: (inputs, attrs) => inferGradient(five(inputs), attrs),
    evaluate: (inputs, attrs, type, sizes) => {
      const axes = sizedAxes(type, sizes);
      const out: Value = { axes, data: new Float64Array(countElements(axes)) };
      evaluateGradient(five(inputs), attrs, out);
      return out;
    },
    vjp: null,
    time: () => "future",
    flops: (inputs, { channel, part }) => {
      const [q, , v] = five(inputs);
      const pairs = Dim.product(withoutAxes(q, [channel]).map((a) => a.size)).times(axisOf(q, TIME).size);
      const [width, value] = [axisOf(q, channel).size, widthOfValue(q, v, channel)];
      // Scores, their gradients, and the sum; those of keys and values go by the same scores.
      return Dim.of(2)
        .times(pairs)
        .times(part === "v" ? value : width.plus(width).plus(value));
    },
    lowering: { kind: "attend-grad" },
    samples: [
      {
        // One key each, and both of the second query's alike: ds is ½ (1 - 2) and ½ (3 - 2).
        attrs: { channel: "C", causal: true, window: null, scale: 2, softcap: null, part: "q" },
        inputs: [
          { axes: "T=2 C=1", data: [0, 0] },
          { axes: "T=2 C=1", data: [1, 4] },
          { axes: "T=2 V=1", data: [1, 3] },
          { axes: "T=2 V=1", data: [5, 1] },
          { axes: "T=2 Z=2", data: [0, 5, Math.log(2), 2] },
        ],
        output: [0, 3],
      },
      {
        // Two query heads share the keys: what they pass on is added up. The window hides the first key from the last query.
        attrs: { channel: "C", causal: true, window: 2, scale: 1, softcap: null, part: "k" },
        inputs: [
          { axes: "T=3 R=2 C=1", data: [1, 2, 0, 0, 1, 1] },
          { axes: "T=3 C=1", data: [0, 0, 0] },
          { axes: "T=3 C=1", data: [1, 2, 4] },
          { axes: "T=3 R=2 C=1", data: [1, 1, 1, 1, 1, 1] },
          {
            axes: "T=3 R=2 Z=2",
            data: [0, 0, 0, 0.5, Math.log(2), 1.5, Math.log(2), 1.5, Math.log(2), 3, Math.log(2), 3],
          },
        ],
        output: [2, -1, 1],
      },
      {
        // Everything is seen, in chunks of one position: each value is passed what its own query and the earlier ones weigh it with.
        attrs: { channel: "C", causal: false, window: null, scale: 1, softcap: 3, chunk: 1, part: "v" },
        inputs: [
          { axes: "T=2 C=1", data: [1, 0] },
          { axes: "T=2 C=1", data: [0, 3 * Math.atanh(Math.log(2) / 3)] },
          { axes: "T=2 V=2", data: [0, 0, 0, 0] },
          { axes: "T=2 V=2", data: [3, 6, 1, -1] },
          { axes: "T=2 Z=2", data: [Math.log(3), 0, 0, 0] },
        ],
        output: [1, 2, 3, 3],
      },
    ],
  },
} satisfies Rows<"attend_grad">;

function inferGradient(inputs: Five<TensorType>, { channel, part }: Attrs["attend_grad"]): TensorType | Mismatch {
  const [q, k, v, ct, rows] = inputs;
  const wrong = checkDtypes(inputs, ["f32"]) ?? checkHas(q, 0, [TIME, channel]) ?? checkHas(k, 1, [TIME, channel]);
  if (wrong !== null) return wrong;
  const value = valueChannel(q, v, channel);
  if (isMismatch(value)) return value;
  const are = (i: number, type: TensorType, names: readonly string[]): Mismatch | null => {
    const wanted = new Set(names);
    const other = type.axes.find((a) => !wanted.has(a.name))?.name ?? names.find((name) => !hasAxis(type, name));
    if (other === undefined) return null;
    return mismatch("shape/attend-axis", `axis \`${other}\` is not both here and in attention's rows`, {
      axis: other,
      inputs: [i, 0],
    });
  };
  const labels = withoutAxes(q, [channel]).map((a) => a.name);
  const pair = rows.axes.find((a) => !labels.includes(a.name) && a.size.value === 2);
  const apart =
    are(3, ct, [...labels, value.name]) ?? are(4, rows, pair === undefined ? labels : [...labels, pair.name]);
  if (apart !== null) return apart;
  if (pair === undefined)
    return mismatch("shape/attend-axis", "the rows need an axis of two, for logsum and mean", { inputs: [4] });
  const withoutValue = (type: TensorType): TensorType => ({ dtype: "f32", axes: withoutAxes(type, [value.name]) });
  const sizes = joinTypes("f32", [
    q,
    k,
    withoutValue(v),
    withoutValue(ct),
    { dtype: "f32", axes: withoutAxes(rows, [pair.name]) },
  ]);
  if (isMismatch(sizes)) return sizes;
  const widths = joinTypes(
    "f32",
    [v, ct].map((type) => ({ dtype: "f32", axes: [axisOf(type, value.name)] })),
  );
  return isMismatch(widths) ? widths : inputs[PARTS.indexOf(part)]!;
}

function widthOfValue(q: TensorType, v: TensorType, channel: string): Dim {
  const value = valueChannel(q, v, channel);
  return isMismatch(value) ? Dim.of(1) : value.size;
}

function evaluateGradient([q, k, v, ct, rows]: Five<Value>, attrs: Attrs["attend_grad"], out: Value): void {
  const { channel, scale, softcap, part } = attrs;
  const heads = headAxes(q, channel);
  const value = ct.axes.find((a) => a.name !== TIME && !heads.some((h) => h.name === a.name))!;
  const [atV, atCt] = [headPlaces(v, heads, value.name), headPlaces(ct, heads, value.name)];
  const pair = rows.axes.find((a) => a.name !== TIME && !heads.some((h) => h.name === a.name))!;
  const atRows = headPlaces(rows, heads, pair.name);
  const along = part === "v" ? value.name : channel;
  const width = out.axes.find((a) => a.name === along)!.size;
  const atOut = headPlaces(out, heads, along);
  // What is added up: the other side's rows.
  const other = { q: k, k: q, v: ct }[part];
  const atOther = headPlaces(other, heads, along);
  forEachQuery(q, k, attrs, ({ head, query, first, last, scores }) => {
    const rowCt = atCt.heads[head]! + query * atCt.time;
    const row = atRows.heads[head]! + query * atRows.time;
    const [logsum, mean] = [rows.data[row]!, rows.data[row + atRows.channel]!];
    for (let j = first; j <= last; j++) {
      const score = scores[j]!;
      let weight = Math.exp(score - logsum);
      if (part !== "v") {
        let dp = 0;
        const rowV = atV.heads[head]! + j * atV.time;
        for (let c = 0; c < value.size; c++) dp += ct.data[rowCt + c * atCt.channel]! * v.data[rowV + c * atV.channel]!;
        weight *= (dp - mean) * scale * (softcap === null ? 1 : 1 - (score / softcap) ** 2);
      }
      const [own, from] = part === "q" ? [query, j] : [j, query];
      const [rowOut, rowFrom] = [atOut.heads[head]! + own * atOut.time, atOther.heads[head]! + from * atOther.time];
      for (let c = 0; c < width; c++)
        out.data[rowOut + c * atOut.channel]! += weight * other.data[rowFrom + c * atOther.channel]!;
    }
  });
}

function five<A>(list: readonly A[]): Five<A> {
  if (list.length !== 5) throw new Error(`five operands expected, got ${list.length}`);
  return list as unknown as Five<A>;
}
