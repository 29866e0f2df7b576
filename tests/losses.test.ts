/** The losses and metrics that balance experts, each against its formula written as plain loops. */
import { expect, test } from "vitest";
import { buildProgram, newContext } from "../compiler/index.ts";
import { instantiate } from "../compiler/language/interpret/instance.ts";
import { Dim } from "../compiler/graph/dim.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { findItem, openRight } from "./support/programs.ts";

const [T, N, K] = [4, 3, 2];
/** Scores, positive and each token's different; no ties. */
const s = [
  [0.9, 0.2, 0.4],
  [0.1, 0.8, 0.3],
  [0.7, 0.6, 0.05],
  [0.35, 0.15, 0.55],
];
const chosen = s.map((row) => row.map((_, i) => i).sort((a, b) => row[b]! - row[a]!)).map((order) => order.slice(0, K));
const p = s.map((row) => row.map((x) => Math.exp(x) / sum(row.map(Math.exp))));
/** Share of tokens that chose each expert: sums to K. */
const f = range(N).map((n) => chosen.filter((c) => c.includes(n)).length / T);

const cases: Readonly<Record<string, { readonly call: string; readonly value: number }>> = {
  "Hugging Face's": {
    call: "load_balance[N](p, i)",
    value: N * sum(range(N).map((n) => f[n]! * mean(p.map((row) => row[n]!)))),
  },
  "Switch's": {
    call: "switch_balance[N](p, i)",
    value: N * sum(range(N).map((n) => (f[n]! / K) * mean(p.map((row) => row[n]!)))),
  },
  "DeepSeek's, of one sequence": {
    call: "score_balance[N](s, i)",
    value: sum(range(N).map((n) => ((f[n]! * N) / K) * mean(s.map((row) => row[n]! / sum(row))))),
  },
  "BTX's, which counts weights": {
    call: "gate_balance[N](p, i, take[N](s, i))",
    value:
      N *
      sum(
        range(N).map(
          (n) => mean(s.map((row, t) => (chosen[t]!.includes(n) ? row[n]! : 0))) * mean(p.map((row) => row[n]!)),
        ),
      ),
  },
  "ReMoE's L1": {
    call: "l1_balance[N](max(s - 0.3, 0.0), 2.0)",
    value:
      (N / (2 * T * T)) *
      sum(
        range(N).map((n) => s.filter((row) => row[n]! > 0.3).length * sum(s.map((row) => Math.max(0, row[n]! - 0.3)))),
      ),
  },
  entropy: { call: "entropy[N](p)", value: mean(p.map((row) => -sum(row.map((x) => x * Math.log(x))))) },
  "the z-loss": {
    call: "router_z[N](s)",
    value: mean(s.map((row) => Math.log(sum(row.map(Math.exp))) ** 2)),
  },
  "the excess of the busiest": { call: "max_violation[N](i)", value: Math.max(...f) / mean(f) - 1 },
};

test.each(Object.entries(cases))("%s", (_, { call, value }) => {
  expect(evaluate(call, s)).toBeCloseTo(value, 10);
});

test("perfect balance is 1, K on Hugging Face's scale, and no excess; a collapse is N / K times that", () => {
  const even = range(6).map((t) => range(N).map((n) => ((n - t + 6) % N === 2 ? -1 : 0)));
  const collapsed = range(6).map(() => [50, 50, 0]);
  expect(evaluate("switch_balance[N](p, i)", even)).toBeCloseTo(1, 10);
  expect(evaluate("load_balance[N](p, i)", even)).toBeCloseTo(K, 10);
  expect(evaluate("max_violation[N](i)", even)).toBeCloseTo(0, 10);
  expect(evaluate("switch_balance[N](p, i)", collapsed)).toBeCloseTo(N / K, 10);
});

test("entropy of a sure choice is 0, of an open one log N", () => {
  expect(evaluate("entropy[N](p)", [[1000, 0, 0]])).toBeCloseTo(0, 10);
  expect(evaluate("entropy[N](p)", [[1, 1, 1]])).toBeCloseTo(Math.log(N), 10);
});

/** A loss of scores s, their softmax p and the chosen i. */
function evaluate(call: string, scores: readonly (readonly number[])[]): number {
  const scope = openRight(`
layer Loss(N, K) {
  forward(s: [T, N]) -> [T, N] {
    p    = softmax[N](s)
    _, i = topk[N -> K](s)
    loss ${call}
    return p + sum[K](f32(i)) * 0.0
  }
}`);
  const decl = findItem(scope, "layer");
  const size = (n: number) => ({ kind: "axis", label: null, size: Dim.of(n), origin: null }) as const;
  const bound = new Map([
    ["N", size(N)],
    ["K", size(K)],
  ]);
  const ctx = newContext();
  const program = buildProgram(instantiate(ctx, { kind: "constructor", decl, scope, bound }, "", [], decl.span)!, ctx);
  const axes = [
    { name: "T", size: scores.length },
    { name: "N", size: N },
  ];
  const results = evaluateProgram(program, {
    inputs: { s: { axes, data: Float64Array.from(scores.flat()) } },
    params: () => ({ axes: [], data: new Float64Array() }),
    sizes: { T: scores.length },
  });
  return results["loss0"]!.data[0]!;
}

function sum(v: readonly number[]): number {
  return v.reduce((a, b) => a + b, 0);
}

function mean(v: readonly number[]): number {
  return sum(v) / v.length;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
