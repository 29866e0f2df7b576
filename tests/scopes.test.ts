/** `batch`, `global`, `state` and `update`: the batched program against sequences one by one, and an optimizer step driven by hand. */
import { describe, expect, test } from "vitest";
import type { Program } from "../compiler/graph/node.ts";
import { Graph, isOp } from "../compiler/graph/node.ts";
import { topologicalOrder } from "../compiler/graph/traverse.ts";
import type { TensorType } from "../compiler/graph/type.ts";
import { parseProgram, parseType } from "../compiler/graph/parse.ts";
import { printProgram } from "../compiler/graph/print.ts";
import { type Accumulated, batchProgram, buildProgram, listParameters } from "../compiler/index.ts";
import { Builder } from "../compiler/ops/builder.ts";
import type { Value } from "../compiler/ops/define.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { verifyProgram } from "../compiler/verify/graph.ts";
import { maxDifference } from "./support/close.ts";
import { randomParams } from "./support/compare-plan.ts";
import { modelOf, outputsOf, programOf } from "./support/programs.ts";
import { makeLayer, namesOf, usual } from "./support/library.ts";

const D = usual["D"]!;

/** [sequence][token][D], numbers in [-4, 4] decided by the seed. */
function tokens(batch: number, T: number, seed: number): number[][][] {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Array.from({ length: batch }, () =>
    Array.from({ length: T }, () => Array.from({ length: D }, () => Math.round((next() - 0.5) * 1024) / 128)),
  );
}

const batched = (program: Program): Accumulated => batchProgram(program, new Builder(new Graph()));

/** Three sequences at once against one by one: results as they are, losses as their mean. */
function compareAlone(program: Program): void {
  const { program: many, accumulators } = batched(program);
  expect(verifyProgram(many)).toEqual([]);
  const buffers = emptyBuffers(accumulators);
  const params = randomParams(program);
  const inputs = [0, 1, 2].map((s) =>
    Object.fromEntries(program.main.inputs.map((n): [string, Value] => [n.attrs.name, sequence(n.type, s)])),
  );
  const alone = inputs.map((own) => evaluateProgram(program, { inputs: own, params, sizes: { T: 4 } }));
  const together = evaluateProgram(many, {
    inputs: Object.fromEntries(Object.keys(inputs[0]!).map((n) => [n, stack(inputs.map((own) => own[n]!))])),
    params: (path) => buffers.get(path) ?? params(path),
    sizes: { T: 4, batch: 3 },
  });
  for (const { name, role } of program.main.outputs) {
    const own = alone.map((results) => results[name]!);
    if (role === "result") {
      // What no input decides, such as experts in turn, is the same for all sequences.
      const isShared = together[name]!.axes.every((a) => a.name !== "batch");
      const expected = isShared ? own[0]! : stack(own);
      if (isShared) expect(own.slice(1)).toEqual([own[0], own[0]]);
      expect(together[name]!.axes).toEqual(expected.axes);
      expect(maxDifference(together[name]!.data, expected.data), name).toBeLessThan(1e-12);
    } else if (role === "loss") {
      expect(together[name]!.axes).toEqual([]);
      expect(together[name]!.data[0]!).toBeCloseTo(own.reduce((sum, v) => sum + v.data[0]!, 0) / 3, 10);
    }
  }
}

/** Values of an input in one sequence; small numbers where they are ids. */
function sequence(type: TensorType, which: number): Value {
  const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T: 4 }) }));
  const length = axes.reduce((n, a) => n * a.size, 1);
  const value = (i: number): number => (type.dtype === "f32" ? 3 * Math.sin(7.3 * i + which) : (i * 3 + which) % 4);
  return { axes, data: Float64Array.from({ length }, (_, i) => value(i)) };
}

/** The values of several sequences as one with the axis `batch` in front. */
const stack = (values: readonly Value[]): Value => ({
  axes: [{ name: "batch", size: values.length }, ...values[0]!.axes],
  data: Float64Array.from(values.flatMap((v) => [...v.data])),
});

describe("the program of a micro-batch", () => {
  test.each(namesOf())("%s does with each sequence what it does with it alone, and means losses", (name) => {
    compareAlone(makeLayer(name).program);
  });

  test("so do operands that are the same for all sequences", () => {
    const text = `layer Fixed(H, C, E) {
  q = param[H, C]
  v = param[H, E]
  s = param[H]
  forward(x: [T, C]) -> [T, H, E] {
    t = f32(position())
    a = attend[C](q + 0.0 * t, q * x, v + 0.1 * t, s, causal)
    b = attend[C](q * x, q + 0.1 * t, v * sum[C](x), causal)
    return a + b + delta_rule[C](q + 0.1 * t, q * x, v + 0.0 * t, sigmoid(s + 0.1 * t))
  }
}
model One(H, C, E) {
  fixed = Fixed(H, C, E)
  forward(x: [T, C]) -> [T, H, E] = fixed(x)
}
config c: One { H: 2  C: 3  E: 2 }
`;
    compareAlone(programOf(text));
  });

  test("its text round-trips, with pools, buffers and updates", () => {
    const program = programOf(BALANCED("global"));
    expect(printProgram(parseProgram(printProgram(program)))).toBe(printProgram(program));
    const many = batched(program).program;
    expect(verifyProgram(many)).toEqual([]);
    expect(printProgram(parseProgram(printProgram(many)))).toBe(printProgram(many));
  });
});

/** A model of two mixtures whose routers balance over `scope` and move a bias. */
const BALANCED = (scope: string): string => `import { Linear, MoE } from "std"
router Biased(D, N) {
  score = Linear(D -> N)
  bias  = state[N](zeros)
  forward(x: [T, D]) -> sparse[T, 2 of N] {
    pair = 2
    z    = f32(score(x))
    _, i = topk[N -> pair](z + bias)
    loss load_balance[N](softmax[N](z), i, scope: "${scope}")
    metric share = mean[batch, T](sum[pair](one_hot[N](i)))
    metric most = max[global, T](max[N](z))
    update bias = bias + toward_balance[N](i, 0.5)
    return route[N](i, take[N](softmax[N](z), i))
  }
}
layer Block(D, N) {
  ffn = MoE(D, 4, N, Biased)
  forward(x: [T, D]) -> [T, D] = x + ffn(x)
}
model Two(D, N, L) {
  blocks = L of Block(D, N)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    metric spread = max[N](mean[blocks](share)) - min[N](min[blocks](share))
    return x
  }
}
config c: Two { D: ${D}  N: 4  L: 2 }
`;

describe("an optimizer step of three micro-batches", () => {
  const whole = tokens(6, 5, 3);
  const micro = [0, 1, 2].map((i) => whole.slice(2 * i, 2 * i + 2));

  test("at its last micro-batch, what is pooled over `global` is what one batch of all sequences gives", () => {
    const steps = runStep("global", micro);
    const [once] = runStep("global", [whole]);
    const last = steps.at(-1)!;
    for (const name of ["blocks[0].most", "after.blocks[0].ffn.pick.bias", "after.blocks[1].ffn.pick.bias"])
      expect(maxDifference(last[name]!.data, once![name]!.data), name).toBe(0);
    expect(maxDifference(steps[0]!["blocks[0].most"]!.data, once!["blocks[0].most"]!.data)).toBeGreaterThan(0);
  });

  test("the global balance loss has the shares of the step so far and the chances of the micro-batch", () => {
    const steps = runStep("global", micro);
    const shares = steps.map((r) => [...r["blocks[0].share"]!.data]);
    // The micro-batch's loss with its own shares is N Σ f P; the step's shares so far are means over micro-batches of equal size.
    const own = runStep("batch", micro);
    const probability = micro.map((x) => meanChance(x));
    steps.forEach((results, m) => {
      const f = [0, 1, 2, 3].map((n) => shares.slice(0, m + 1).reduce((sum, s) => sum + s[n]!, 0) / (m + 1));
      expect(results["blocks[0].loss0"]!.data[0]).toBeCloseTo(dot(f, probability[m]!) * 4, 10);
      expect(own[m]!["blocks[0].loss0"]!.data[0]).toBeCloseTo(dot(shares[m]!, probability[m]!) * 4, 10);
    });
    expect(Math.abs(steps[2]!["blocks[0].loss0"]!.data[0]! - own[2]!["blocks[0].loss0"]!.data[0]!)).toBeGreaterThan(
      1e-4,
    );
  });

  test("a micro-batch's balance is that of its tokens as one sequence; a sequence's is another", () => {
    const [joined] = runStep("sequence", [[whole.flat()]]);
    const [batch] = runStep("batch", [whole]);
    const [sequence] = runStep("sequence", [whole]);
    const loss = (r: Record<string, Value>): number => r["blocks[0].loss0"]!.data[0]!;
    expect(loss(batch!)).toBeCloseTo(loss(joined!), 10);
    expect(Math.abs(loss(sequence!) - loss(joined!))).toBeGreaterThan(1e-4);
  });

  test("metrics of all layers are reduced by the model", () => {
    const [results] = runStep("batch", [whole]);
    const shares = [0, 1].map((l) => [...results![`blocks[${l}].share`]!.data]);
    const means = [0, 1, 2, 3].map((n) => (shares[0]![n]! + shares[1]![n]!) / 2);
    expect(results!["spread"]!.data[0]).toBeCloseTo(Math.max(...means) - Math.min(...shares.flat()), 10);
  });
});

test("a model without a layer that reports has no such loss; a definition that misspells it is told", () => {
  const text = (first: number): string => `import { MoE, SoftmaxTopK, SwiGLU } from "std"
model Late(D, N, L, first = 0) {
  blocks[l] = L of if l >= first then MoE(D, 3, N, SoftmaxTopK(K: 2, balance: none)) else SwiGLU(D, 3)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    loss pooled_balance[N](mean[blocks](expert_share), mean[blocks](expert_chance))
    return x
  }
}
config c: Late { D: 4  N: 3  L: 3  first: ${first} }
`;
  const losses = (first: number) => outputsOf(programOf(text(first))).filter((o) => o.startsWith("loss"));
  expect([losses(0).length, losses(2).length, losses(3).length]).toEqual([1, 1, 0]);
  const one = programOf(text(2)).main.outputs.find((o) => o.role === "loss")!.node;
  const divisors = topologicalOrder([one])
    .filter((n) => isOp(n, "div"))
    .map((n) => n.inputs[1]!);
  expect(divisors.map((n) => isOp(n, "constant") && n.attrs.value)).toEqual([1, 1]);
});

test("every layer has a state of its own, and its update beside the results", () => {
  const program = programOf(BALANCED("batch"));
  expect(outputsOf(program).filter((o) => o.startsWith("update"))).toEqual([
    "update after.blocks[0].ffn.pick.bias f32[N=4]",
    "update after.blocks[1].ffn.pick.bias f32[N=4]",
  ]);
  const states = modelOf(BALANCED("batch")).parameters.filter((p) => p.state);
  expect(states.map((p) => p.path)).toEqual(["blocks[0].ffn.pick.bias", "blocks[1].ffn.pick.bias"]);
});

test("where only some tokens are there, losses and metrics are about these", () => {
  const text = `layer Watched(D) {
  forward(x: [T, D]) -> [T, D] {
    metric mean = mean[batch, T, D](x)
    metric sum = sum[T, D](x)
    metric most = max[T, D](x)
    metric least = min[T, D](x)
    return x * 2.0
  }
}
model Some(D) {
  watched = Watched(D)
  forward(x: [T, D]) -> [T, D] = within(sum[D](x) > 0.0, watched(x))
}
config c: Some { D: 1 }
`;
  const run = (data: readonly number[]): number[] => {
    const x = { axes: [scalarAxis("T", data.length), scalarAxis("D", 1)], data: Float64Array.from(data) };
    const params = (): Value => scalar(0);
    const results = evaluateProgram(programOf(text), { inputs: { x }, params, sizes: { T: data.length } });
    return ["mean", "sum", "most", "least"].map((name) => results[name]!.data[0]!);
  };
  expect(run([1, -5, 3])).toEqual([2, 4, 3, 1]);
  expect(run([-1, -5]).slice(0, 2)).toEqual([0, 0]);
});

test("a stack in a stack keeps buffers and updates by their paths", () => {
  const text = `layer Row(D) {
  seen = state(zeros)
  forward(x: [T, D]) -> [T, D] {
    update seen = seen + sum[global, T, D](x)
    return x * 2.0
  }
}
layer Inner(D, M) {
  rows = M of Row(D)
  forward(x: [T, D]) -> [T, D] {
    for r in rows { x = r(x) }
    return x
  }
}
model Outer(D, L, M) {
  blocks = L of Inner(D, M)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}
config c: Outer { D: 1  L: 2  M: 2 }
`;
  const model = modelOf(text);
  const { program, accumulators } = batched(buildProgram(model.instance));
  expect(accumulators.map((a) => [a.path, a.initial])).toEqual(
    [0, 1].flatMap((l) => [0, 1].map((m) => [`blocks[${l}].rows[${m}].global.0`, 0])),
  );
  const buffers = new Map(accumulators.map((a, i) => [a.path, scalar(100 * i)]));
  const states = new Map(listParameters(model.instance).map((p, i) => [p.path, scalar(i)]));
  const x = {
    axes: [
      { name: "batch", size: 2 },
      { name: "T", size: 1 },
      { name: "D", size: 1 },
    ],
    data: Float64Array.of(1, 2),
  };
  const params = (path: string): Value => (buffers.get(path) ?? states.get(path))!;
  const results = evaluateProgram(program, { inputs: { x }, params, sizes: { T: 1, batch: 2 } });
  const after = [0, 1].flatMap((l) => [0, 1].map((m) => results[`after.blocks[${l}].rows[${m}].seen`]!.data[0]));
  expect(after).toEqual([3, 1 + 100 + 6, 2 + 200 + 12, 3 + 300 + 24]);
});

test("a maximum over sequences starts from the smallest number, and joins with the larger", () => {
  const b = new Builder(new Graph());
  const x = b.must("input", [], { name: "x", type: parseType("f32[T]") });
  const node = b.must("pool", [b.reduceMax(x, ["T"])], { scope: "global", reduce: "max", buffer: "global.0" });
  const main = { name: "main", inputs: [x], outputs: [{ name: "global.0", role: "accumulator", node } as const] };
  const { program, accumulators } = batchProgram({ main, functions: new Map() }, b);
  expect(accumulators.map((a) => a.initial)).toEqual([-3.4028234663852886e38]);
  const value = {
    axes: [
      { name: "batch", size: 2 },
      { name: "T", size: 2 },
    ],
    data: Float64Array.of(1, 5, 3, 4),
  };
  const run = (before: number): number =>
    evaluateProgram(program, { inputs: { x: value }, params: () => scalar(before), sizes: { T: 2, batch: 2 } })[
      "global.0"
    ]!.data[0]!;
  expect([run(accumulators[0]!.initial), run(9)]).toEqual([5, 9]);
});

const scalarAxis = (name: string, size: number): Value["axes"][number] => ({ name, size });
const scalar = (x: number): Value => ({ axes: [], data: Float64Array.of(x) });
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** The buffers of a step that has just begun, by path. */
function emptyBuffers(accumulators: Accumulated["accumulators"]): Map<string, Value> {
  return new Map(
    accumulators.map(({ path, type, initial }) => {
      const axes = type.axes.map((a) => ({ name: a.name, size: a.size.value! }));
      return [path, { axes, data: new Float64Array(axes.reduce((n, a) => n * a.size, 1)).fill(initial) }];
    }),
  );
}

/** Runs the micro-batches of one step, keeping the buffers as a training loop would: reset, then updated by each. */
function runStep(scope: string, micro: readonly (readonly number[][][])[]): Record<string, Value>[] {
  const { program, accumulators } = batched(programOf(BALANCED(scope)));
  const buffers = emptyBuffers(accumulators);
  const params = randomParams(programOf(BALANCED(scope)));
  return micro.map((x) => {
    const T = x[0]!.length;
    const axes = [["batch", x.length] as const, ["T", T] as const, ["D", D] as const];
    const input = { axes: axes.map(([name, size]) => ({ name, size })), data: Float64Array.from(x.flat(2)) };
    const results = evaluateProgram(program, {
      inputs: { x: input },
      params: (path) => buffers.get(path) ?? params(path),
      sizes: { T, batch: x.length },
    });
    for (const path of buffers.keys()) buffers.set(path, results[path]!);
    return results;
  });
}

/** The mean softmax of the first router's logits. */
function meanChance(x: readonly number[][][]): number[] {
  const w = randomParams(programOf(BALANCED("batch")))("blocks[0].ffn.pick.score.w");
  const rows = x.flat().map((token) => {
    const e = [0, 1, 2, 3].map((n) => Math.exp(token.reduce((sum, v, d) => sum + v * w.data[n * D + d]!, 0)));
    const total = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / total);
  });
  return [0, 1, 2, 3].map((n) => rows.reduce((sum, row) => sum + row[n]!, 0) / rows.length);
}
