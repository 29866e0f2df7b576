/**
 * Routers again, straight from their papers and from the code that models were trained with: plain loops over logits z [T][N],
 * with none of the compiler's code. Each gives gates [T][N].
 */
import type { Own } from "./library.ts";

type Table = readonly (readonly number[])[];

export interface Formula {
  /** What the router is made with, beside its usual sizes. */
  readonly own?: Own;
  readonly purpose?: "train";
  /** Where the parameters of a router around another one are. */
  readonly within?: "pick.";
  /** `param` reads a parameter's rows. */
  readonly gates: (z: Table, param: (path: string) => Table) => Table;
  /** Logits, where they are not x times `score.w`. */
  readonly logits?: (x: Table, param: (path: string) => Table) => Table;
}

const K = 2;
const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);
const mean = (v: readonly number[]): number => sum(v) / v.length;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const column = (m: Table, n: number): number[] => m.map((row) => row[n]!);
export const multiply = (x: Table, w: Table): number[][] => x.map((a) => w.map((b) => sum(a.map((v, i) => v * b[i]!))));

function softmax(v: readonly number[]): number[] {
  const top = Math.max(...v);
  const e = v.map((x) => Math.exp(x - top));
  return e.map((x) => x / sum(e));
}

/** The places of the `count` largest, the first among equals. */
function largest(v: readonly number[], count: number): number[] {
  const left = [...v];
  return Array.from({ length: count }, () => {
    const at = left.indexOf(Math.max(...left));
    left[at] = -Infinity;
    return at;
  });
}

/** `values` at the chosen places, 0 elsewhere. */
const only = (values: readonly number[], chosen: readonly number[]): number[] =>
  values.map((x, i) => (chosen.includes(i) ? x : 0));

const topK = (z: Table): Table =>
  z.map((row) => {
    const chosen = largest(row, K);
    const total = sum(chosen.map((i) => Math.exp(row[i]!)));
    return only(
      row.map((x) => Math.exp(x) / total),
      chosen,
    );
  });

/** Scores outside the best `kept` groups become `shut`. */
function shutGroups(
  v: readonly number[],
  groups: number,
  kept: number,
  score: (members: number[]) => number,
  shut: number,
): number[] {
  const width = v.length / groups;
  const members = Array.from({ length: groups }, (_, g) => v.slice(g * width, (g + 1) * width));
  const open = largest(
    members.map((m) => score(m)),
    kept,
  );
  return v.map((x, i) => (open.includes(Math.floor(i / width)) ? x : shut));
}

/** Gates of a token [N] with all but the largest 0. */
const topOne = (p: readonly number[]): number[] => only(p, largest(p, 1));

/** What each expert keeps of its column of the gates: the `count` largest, if above 0. */
const keptBy = (gates: Table, count: number, key: (gate: number) => number): Table => {
  const kept = gates[0]!.map((_, n) => largest(column(gates, n).map(key), count));
  return gates.map((row, t) => row.map((w, n) => (kept[n]!.includes(t) ? w : 0)));
};

/** The router that a title is about: titles of further cases have a comma. */
export const nameIn = (title: string): string => title.split(",")[0]!;

export const formulas: Readonly<Record<string, Formula>> = {
  TopK: { gates: topK },
  NoisyTopK: { gates: topK },
  Soft: { gates: (z) => z.map(softmax) },
  Switch: { gates: (z) => z.map(softmax).map(topOne) },
  SampleTop1: { own: { tau: 0.5 }, gates: (z) => z.map((row) => only([1, 1, 1, 1, 1, 1], largest(row, 1))) },
  "SampleTop1, training": {
    own: { tau: 0.5 },
    purpose: "train",
    gates: (z) => z.map((row) => topOne(softmax(row.map((v) => v / 0.5)))),
  },
  SoftmaxTopK: {
    own: { renormalize: true },
    gates: (z) => z.map(softmax).map((p) => only(p, largest(p, K)).map((x, _, all) => x / sum(all))),
  },
  "SoftmaxTopK, order 2": {
    own: { renormalize: true, order: 2.5 },
    gates: (z) =>
      z
        .map(softmax)
        .map((p) => only(p, largest(p, K)))
        .map((w) => w.map((v) => v / sum(w.map((u) => u ** 2.5)) ** 0.4)),
  },
  ScaledTopK: {
    logits: (x, param) =>
      multiply(
        x.map((row) => row.map((v, d) => (v * param("gain")[0]![d]!) / Math.sqrt(sum(row.map((u) => u * u))))),
        param("score.w"),
      ),
    gates: (z, param) => topK(z).map((row) => row.map((w, n) => w * param("scale")[0]![n]!)),
  },
  "SigmoidTopK, square roots": {
    own: { gate: "sqrt_softplus", biased: false, groups: 2, kept: 1, best: 1 },
    gates: (z) =>
      z.map((row) => {
        const s = row.map((v) => Math.sqrt(Math.log(1 + Math.exp(v))));
        const open = shutGroups(s, 2, 1, (m) => Math.max(...m), -Infinity);
        const w = only(s, largest(open, K));
        return w.map((v) => v / sum(w));
      }),
  },
  SigmoidTopK: {
    own: { groups: 3, kept: 2, scale: 2.5 },
    gates: (z, param) =>
      z.map((row) => {
        const s = row.map(sigmoid);
        const biased = s.map((x, i) => x + param("bias")[0]![i]!);
        const open = shutGroups(biased, 3, 2, (m) => sum(largest(m, 2).map((i) => m[i]!)), -Infinity);
        const w = only(s, largest(open, K));
        return w.map((x) => (2.5 * x) / sum(w));
      }),
  },
  GroupedTopK: {
    gates: (z) =>
      z.map(softmax).map((p) =>
        only(
          p,
          largest(
            shutGroups(p, 3, 2, (m) => Math.max(...m), 0),
            K,
          ),
        ),
      ),
  },
  TopP: {
    gates: (z) =>
      z.map(softmax).map((p) => {
        const chosen: number[] = [];
        for (const i of largest(p, p.length)) {
          chosen.push(i);
          if (sum(chosen.map((c) => p[c]!)) > 0.4) break;
        }
        return only(p, chosen);
      }),
  },
  ReLU: { gates: (z) => z.map((row) => row.map((x) => Math.max(0, x))) },
  SparseMixer: {
    own: { eps: 0.25 },
    gates: (z) =>
      z.map((row) => {
        const gates = row.map(() => 0);
        const left = [...row];
        for (let pick = 0; pick < K; pick++) {
          const top = Math.max(...left);
          const masked = row.map((x, i) => ((top - x) / Math.max(Math.abs(x), top) > 0.5 ? -Infinity : left[i]!));
          const at = left.indexOf(top);
          gates[at] = softmax(masked)[at]!;
          left[at] = -Infinity;
        }
        return gates;
      }),
  },
  NormalizedTopK: {
    own: { sharpness: 2.5 },
    logits: (x, param) => multiply(x, param("score.w")).map((row) => row.map((v, n) => v + param("score.b")[0]![n]!)),
    gates: (z) =>
      z.map((row) => {
        const deviation = Math.sqrt(mean(row.map((v) => (v - mean(row)) ** 2)));
        const p = softmax(row.map((v) => (2.5 * (v - mean(row))) / deviation));
        return only(p, largest(p, K));
      }),
  },
  Nexus: {
    logits: (x, param) => {
      const gate = multiply(param("domain"), param("project.gate.w"));
      const up = multiply(param("domain"), param("project.up.w"));
      const hidden = gate.map((row, n) => row.map((g, h) => g * sigmoid(g) * up[n]![h]!));
      return multiply(x, multiply(hidden, param("project.down.w")));
    },
    gates: (z) => z.map(softmax).map((p) => only(p, largest(p, K))),
  },
  ExpertChoice: {
    gates: (z) => {
      const p = z.map(softmax);
      const taken = p[0]!.map((_, n) => largest(column(p, n), 2));
      return p.map((row, t) => row.map((x, n) => (taken[n]!.includes(t) ? x : 0)));
    },
  },
  Sinkhorn: { gates: (z) => z.map((row) => only(softmax(row), largest(row, K))) },
  "Sinkhorn, training": {
    purpose: "train",
    gates: (z) => {
      const c = z.map((row) => row.map(Math.exp));
      let d1 = c[0]!.map(() => 1);
      let d0 = c.map(() => 1);
      for (let round = 0; round < 17; round++) {
        d0 = c.map((row) => 1 / (c.length * sum(row.map((x, n) => x * d1[n]!))));
        d1 = d1.map((_, n) => 1 / (d1.length * sum(column(c, n).map((x, t) => x * d0[t]!))));
      }
      return z.map((row, t) =>
        only(
          softmax(row),
          largest(
            c[t]!.map((x, n) => x * d1[n]! * d0[t]!),
            K,
          ),
        ),
      );
    },
  },
  Jittered: { within: "pick.", gates: topK },
  Balanced: { within: "pick.", gates: topK },
  BalancedByGate: { within: "pick.", gates: topK },
  WithIdle: { within: "pick.", gates: (z) => topK(z).map((row) => row.slice(0, -2)) },
  InTurn: {
    within: "pick.",
    gates: (z) =>
      topK(z).map((row, t) => {
        const [first, second] = row.filter((w) => w > 0).sort((a, b) => b - a);
        const turn = row.map(() => 0);
        turn[(2 * t) % turn.length] = first!;
        turn[(2 * t + 1) % turn.length] = second!;
        return turn;
      }),
  },
  MostProbable: { within: "pick.", gates: (z) => keptBy(topK(z), 2, (w) => w) },
  Padded: { within: "pick.", gates: (z) => keptBy(topK(z), 2, (w) => w) },
  "Padded, by position": {
    within: "pick.",
    own: { by: "position" },
    gates: (z) => keptBy(topK(z), 2, (w) => (w > 0 ? 1 : 0)),
  },
  LimitedShare: {
    within: "pick.",
    own: { factor: 0.7 },
    gates: (z) => {
      const queue = z[0]!.map(() => 0);
      const places = Math.ceil((0.7 * z.length * K) / z[0]!.length);
      return topK(z).map((row) => row.map((w, n) => (w > 0 && ++queue[n]! <= places ? w : 0)));
    },
  },
  Limited: {
    within: "pick.",
    gates: (z) => {
      const queue = z[0]!.map(() => 0);
      return topK(z).map((row) => row.map((w, n) => (w > 0 && ++queue[n]! <= 2 ? w : 0)));
    },
  },
};
