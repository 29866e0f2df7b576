/** Recipes with the options of their papers against loops written for each, and what they promise about the function. */
import { expect, test } from "vitest";
import { applyAssignments, expandUpcycle, runContracts } from "../../../compiler/index.ts";
import { modelOf } from "../../support/programs.ts";
import {
  change,
  D,
  F,
  L,
  make,
  matrixOf,
  mixture,
  modelFrom as dense,
  randomWeights,
  recipe,
  recipeOf,
  valuesOf,
  worst,
} from "./upcycle-support.ts";

test.each([
  [2, 2, 2],
  [4, 4, 4],
  [8, 8, 8],
  [2, 4, 8],
])("virtual groups E%i G%i T%i are shards, scaled so that the function stays", (E, G, T) => {
  const made = make("virtual_groups", [dense("Llama")], { E, G, T, std: 0.5 });
  const { sources, target } = made;
  const width = F / G;
  for (let l = 0; l < L; l++) {
    const from = (name: string): number[][] =>
      matrixOf(sources[0]!, `blocks[${l}].mlp.${name}.w`, name === "down" ? D : F, name === "down" ? F : D);
    for (let n = 0; n < E * G; n++) {
      const rows = Array.from({ length: width }, (_, i) => (n % G) * width + i);
      const expert = (name: string, r: number, c: number): number[][] =>
        matrixOf(target, `blocks[${l}].ffn.experts.${name}.w`, r, c, n);
      expect(expert("gate", width, D)).toEqual(rows.map((f) => from("gate")[f]));
      expect(expert("up", width, D)).toEqual(rows.map((f) => from("up")[f]));
      expect(expert("down", D, width)).toEqual(from("down").map((row) => rows.map((f) => G * row[f]!)));
    }
    const router = matrixOf(target, `blocks[${l}].ffn.pick.score.w`, E * G, D);
    router.forEach((row, n) => expect(row).toEqual(router[n - (n % G)]));
    expect(new Set(router.map(String)).size).toBe(E);
  }
  expect(change(made)).toBeLessThan(1e-5);
});

test("the cube root goes on all three matrices", () => {
  const { sources, target } = make("virtual_groups", [dense("Llama")], { E: 2, G: 8, T: 8, exact: false });
  const up = target.get("blocks[0].ffn.experts.up.w")!;
  up.forEach((x, i) => expect(x).toBeCloseTo(2 * sources[0]!.get("blocks[0].mlp.up.w")![i % (F * D)]!, 12));
});

/** Two families with two matrices per feed-forward: squared ReLU is a power, SiLU is not. */
const plain = (activation: string): string => `
import { Attention, Embedding, Linear, MLP, MoE, RMSNorm, Sequential, SequentialMixture, SoftmaxTopK, TopK } from "std"
model Plain(V, L, D, F, G, R, C) {
  embed  = Embedding(V -> D)
  blocks = L of Sequential(D, Attention(G: G, R: R, C: C), MLP(F: F, bias: false, activation: ${activation}))
  norm   = RMSNorm(D)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(norm(x)))
  }
}
model Experts(V, L, D, F, G, R, C, N, K, renormalize = true) {
  embed  = Embedding(V -> D)
  blocks = L of SequentialMixture(D, Attention(G: G, R: R, C: C),
    MoE(F: F, N: N, R: if renormalize then TopK(K: K) else SoftmaxTopK(K: K), expert: MLP(bias: false, activation: ${activation})))
  norm = RMSNorm(D)
  head = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(norm(x)))
  }
}
mixture Experts of Plain
config c: Plain { V: 7  L: 2  D: 4  F: 16  G: 1  R: 2  C: 2 }
`;

/** Each activation is read and checked once. */
const twoMatrices = new Map(
  ["relu2", "silu", "relu"].map((activation) => {
    const { file, start, end } = recipe("virtual_groups").item.span;
    const rules = file.text.slice(start, end).replaceAll("ensures", "// ensures");
    const own = recipeOf(`${plain(activation)}\n${rules}`);
    return [activation, { own, model: modelOf(plain(activation)) }];
  }),
);

/** How much virtual groups change the function, with a router that is all but undecided. */
function groupsOf(activation: string, options: Readonly<Record<string, number | boolean>>): number {
  const { own, model } = twoMatrices.get(activation)!;
  return change(make(own, [model], { std: 1e-9, exact: false, ...options }));
}

test.each([
  [2, 2, 2],
  [4, 4, 4],
  [8, 8, 8],
])(
  "E%i G%i T%i: a cube root on both matrices is exact for squared ReLU, in both orders of softmax and top-K",
  (E, G, T) => {
    for (const before of [false, true]) {
      expect(groupsOf("relu2", { E, G, T, before })).toBeLessThan(1e-5);
      expect(groupsOf("silu", { E, G, T, before, exact: true })).toBeLessThan(1e-5);
      expect(groupsOf("silu", { E, G, T, before })).toBeGreaterThan(1e-3);
      expect(groupsOf("relu", { E, G, T, before, root: 2 })).toBeLessThan(1e-5);
    }
  },
);

test.each([
  [4, 2, 2],
  [4, 2, 6],
])("E%i G%i T%i: with a softmax before top-K, the scale makes up for the experts that are left out", (E, G, T) => {
  const made = make("virtual_groups", [dense("Llama")], { E, G, T, before: true, std: 0 }, "SparseLlama");
  const [down, source] = [
    made.target.get("blocks[1].ffn.experts.down.w")!,
    made.sources[0]!.get("blocks[1].mlp.down.w")!,
  ];
  // The first row of the first expert's shard.
  expect(down[0]).toBeCloseTo(((E * G * G) / T) * source[0]!, 12);
  expect(change(made)).toBeLessThan(1e-9);
});

test("virtual groups need whole groups per token", () => {
  expect(() => make("virtual_groups", [dense("Llama")], { E: 4, G: 4, T: 6 })).toThrow("requires `T % G == 0`");
});

test("drop redraws one set of neurons per expert, like the weights that it replaces", () => {
  const { sources, target } = make("drop", [dense("Llama")], { N: 3, K: 2, share: 0.25 });
  const chosen = new Set<string>();
  for (let n = 0; n < 3; n++) {
    const changed = ["gate", "up", "down"].map((name) => {
      const [r, c] = name === "down" ? [D, F] : [F, D];
      const before = matrixOf(sources[0]!, `blocks[1].mlp.${name}.w`, r, c);
      const after = matrixOf(target, `blocks[1].ffn.experts.${name}.w`, r, c, n);
      const differs = (f: number): boolean =>
        Array.from({ length: D }, (_, d) => d).every((d) =>
          name === "down" ? before[d]![f] !== after[d]![f] : before[f]![d] !== after[f]![d],
        );
      const same = before.flat().filter((x, i) => x === after.flat()[i]).length;
      const set = Array.from({ length: F }, (_, f) => f).filter(differs);
      expect(same).toBe((F - set.length) * D);
      return set;
    });
    expect(changed[0]).toHaveLength(F / 4);
    expect(changed[1]).toEqual(changed[0]);
    expect(changed[2]).toEqual(changed[0]);
    chosen.add(String(changed[0]));
  }
  expect(chosen.size).toBe(3);
});

test("what drop draws has mean and deviation of what it replaces", () => {
  const source = modelOf(
    'import { Llama } from "std"\nconfig c: Llama { V: 7  L: 1  D: 64  F: 256  G: 1  R: 2  C: 2 }\n',
  );
  const { item, scope } = recipe("drop");
  const plan = expandUpcycle(item, scope, [source], valuesOf({ N: 2, share: 1 }));
  const weights = new Map([...randomWeights(source, 1)].map(([path, data]) => [path, data.map((x) => 0.1 * x + 3)]));
  const drawn = applyAssignments(plan, [weights]).get("blocks[0].ffn.experts.up.w")!;
  const mean = drawn.reduce((a, b) => a + b) / drawn.length;
  const deviation = Math.sqrt(drawn.reduce((sum, x) => sum + (x - mean) ** 2, 0) / drawn.length);
  expect(Math.abs(mean - 3)).toBeLessThan(0.003);
  expect(Math.abs(deviation - 0.05)).toBeLessThan(0.002);
});

test("noise differs by expert and has its deviation", () => {
  const { sources, target } = make("noise", [dense("Llama")], { N: 40, noise: 0.1 });
  const before = sources[0]!.get("blocks[0].mlp.up.w")!;
  const noise = target.get("blocks[0].ffn.experts.up.w")!.map((x, i) => x - before[i % before.length]!);
  expect(new Set(noise).size).toBe(noise.length);
  expect(Math.sqrt(noise.reduce((sum, x) => sum + x * x, 0) / noise.length)).toBeCloseTo(0.1, 2);
});

test.each([0, 0.3, 1])("an interpolation by %d is that, and its ends are the models", (alpha) => {
  const { sources, target } = make("interpolation", [dense("Llama"), dense("Llama")], { alpha });
  for (const [path, data] of target) {
    const [a, b] = sources.map((s) => s.get(path)!);
    const expected = data.map((_, i) => (alpha === 0 ? a![i]! : alpha === 1 ? b![i]! : 0.7 * a![i]! + 0.3 * b![i]!));
    expect(worst(data, expected)).toBeLessThan(alpha === 0.3 ? 1e-15 : Number.MIN_VALUE);
  }
});

test("task arithmetic adds scaled differences", () => {
  const models = [dense("Llama"), dense("Llama"), dense("Llama")];
  const { sources, target } = make("task_arithmetic", models, { scale: 0.4 });
  for (const [path, data] of target) {
    const [base, ...tuned] = sources.map((s) => s.get(path)!);
    const expected = base!.map((x, i) => x + tuned.reduce((sum, t) => sum + 0.4 * (t[i]! - x), 0));
    expect(worst(data, expected)).toBeLessThan(1e-14);
  }
});

test("a partition gives every neuron to one expert", () => {
  const made = make("partition", [dense("Llama")], { N: 4, K: 4, scale: 4, std: 0 });
  const { sources, target } = made;
  const rows = matrixOf(sources[0]!, "blocks[0].mlp.gate.w", F, D).map(String);
  const given = Array.from({ length: 4 }, (_, n) => matrixOf(target, "blocks[0].ffn.experts.gate.w", F / 4, D, n));
  const order = given.flat().map((row) => rows.indexOf(String(row)));
  expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: F }, (_, i) => i));
  expect(order).not.toEqual(order.toSorted((a, b) => a - b));
  expect(change(made)).toBeLessThan(1e-9);
});

test("merged experts are the mean of the layer's experts", () => {
  const { plan, sources, target } = make("merge_experts", [mixture]);
  expect(plan.target.name).toBe("Llama");
  const experts = sources[0]!.get("blocks[1].ffn.experts.down.w")!;
  const expected = Float64Array.from(
    { length: D * F },
    (_, i) => (experts[i]! + experts[i + D * F]! + experts[i + 2 * D * F]!) / 3,
  );
  expect(worst(target.get("blocks[1].mlp.down.w")!, expected)).toBeLessThan(1e-15);
  expect(target.get("blocks[1].attn.q.w")).toEqual(sources[0]!.get("blocks[1].attn.q.w"));
});

test("an added expert stands behind the others, with a row of its own", () => {
  const { sources, target } = make("add_expert", [mixture, dense("Llama")]);
  const [old, extra] = sources;
  for (const name of ["gate", "up", "down"]) {
    const expected = [...old!.get(`blocks[0].ffn.experts.${name}.w`)!, ...extra!.get(`blocks[0].mlp.${name}.w`)!];
    expect([...target.get(`blocks[0].ffn.experts.${name}.w`)!]).toEqual(expected);
  }
  const router = target.get("blocks[0].ffn.pick.score.w")!;
  expect(router.length).toBe(4 * D);
  expect([...router.subarray(0, 3 * D)]).toEqual([...old!.get("blocks[0].ffn.pick.score.w")!]);
  expect(new Set(router.subarray(3 * D)).size).toBe(D);
});

test.each([
  ["Llama", null, "Qwen2MoE", true],
  ["Qwen2", null, "Qwen2MoE", true],
  ["Granite", null, "GraniteMoEShared", false],
  ["Llama", "DeepSeekMoE", "DeepSeekMoE", false],
] as const)("shared and routed experts together are the feed-forward: %s (%s) as %s", (from, to, name, gated) => {
  const multipliers = "embedding_multiplier: 2.0  residual_multiplier: 0.5  logits_scaling: 3.0";
  const made = make(
    "shared_expert",
    [dense(from, name === "GraniteMoEShared" ? multipliers : "")],
    { N: 4, K: 2, std: 0.5 },
    to,
  );
  const { plan, sources, target } = made;
  expect(plan.target.name).toBe(name);
  const feed = (part: string, factor: number): number[] =>
    [...sources[0]!.get(`blocks[0].mlp.${part}.w`)!].map((x) => factor * x);
  for (const part of ["gate", "up", "down"]) {
    const half = part === "down" ? 0.5 : 1;
    expect([...target.get(`blocks[0].ffn.shared.${part}.w`)!]).toEqual(feed(part, gated ? 1 : half));
    const experts = [...target.get(`blocks[0].ffn.experts.${part}.w`)!];
    expect(experts).toEqual([0, 1, 2, 3].flatMap(() => feed(part, half)));
  }
  expect(target.get("blocks[0].ffn.gate.w")).toEqual(gated ? new Float64Array(D) : undefined);
  expect(change(made)).toBeLessThan(1e-9);
  const { item, scope } = recipe("shared_expert");
  const families = plan.sources.map(({ instance: { decl, scope: own } }) => ({ decl, scope: own }));
  expect(runContracts(item, scope, families, new Map(), to).map((r) => r.failure)).toEqual([null]);
});

test("a family without a mixture that has a shared expert is told which have one", () => {
  expect(() => make("shared_expert", [dense("Qwen3")])).toThrow("there is no `shared` in `blocks[0].ffn`");
});

test("contracts are checked where their premises hold", () => {
  const { item, scope } = recipe("interpolation");
  const { decl, scope: own } = dense("Llama").instance;
  const two = [0, 1].map(() => ({ decl, scope: own }));
  expect(runContracts(item, scope, two, new Map()).map((r) => r.failure)).toEqual([null, null]);
  const tuned = { kind: "name" as const, name: { text: "tuned", span: item.span }, span: item.span };
  const base = { kind: "name" as const, name: { text: "base", span: item.span }, span: item.span };
  const rules = [
    { kind: "default" as const, value: tuned, span: item.span },
    { kind: "ignore" as const, path: base, span: item.span },
  ];
  const wrong = { ...item, rules };
  expect(runContracts(wrong, scope, two, new Map()).map((r) => r.failure?.replace(/ by .*/, "") ?? null)).toEqual([
    "the logits differ",
    null,
  ]);
});
