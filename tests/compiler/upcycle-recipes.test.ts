/** Every recipe of the standard library against plain loops over random weights, and what it promises about the function. */
import { expect, test } from "vitest";
import {
  applyAssignments,
  buildProgram,
  evaluateProgram,
  expandUpcycle,
  type Model,
  runContracts,
  type Upcycling,
  type Value,
} from "../../compiler/index.ts";
import { fillInit } from "../../compiler/model/init.ts";
import { openWorkspace } from "../../runtime/modules.ts";
import { modelOf } from "../support/programs.ts";

type Weights = ReadonlyMap<string, Float64Array>;
type Options = Readonly<Record<string, number | boolean>>;

const [V, L, D, F] = [7, 2, 4, 16];
const sizes = `V: ${V}  L: ${L}  D: ${D}  F: ${F}  G: 1  R: 2  C: 2`;
const dense = (name: string): Model => modelOf(`import { ${name} } from "std"\nconfig c: ${name} { ${sizes} }\n`);
const mixture = modelOf(`import { Mixtral } from "std"\nconfig c: Mixtral { ${sizes}  N: 3  K: 2 }\n`);

const workspace = openWorkspace();
const recipe = (name: string) => workspace.standard("upcycle").find((u) => u.item.name.text === name)!;
const valuesOf = (options: Options): ReadonlyMap<string, Value> =>
  new Map(
    Object.entries(options).map(([name, value]): [string, Value] => [
      name,
      typeof value === "boolean" ? { kind: "bool", value } : { kind: "number", value, float: !Number.isInteger(value) },
    ]),
  );

const count = (axes: readonly { readonly size: number }[]): number => axes.reduce((n, a) => n * a.size, 1);

function randomWeights(model: Model, seed: number): Weights {
  return new Map(
    model.parameters.map(({ path, axes }) => {
      const data = new Float64Array(count(axes));
      fillInit({ kind: "normal", std: 0.5, seed }, path, 0, data);
      return [path, data];
    }),
  );
}

interface Made {
  readonly plan: Upcycling;
  readonly sources: readonly Weights[];
  readonly target: Weights;
}

function make(name: string, models: readonly Model[], options: Options = {}): Made {
  const { item, scope } = recipe(name);
  const plan = expandUpcycle(item, scope, models, valuesOf(options));
  const sources = models.map((m, i) => randomWeights(m, i + 1));
  return { plan, sources, target: applyAssignments(plan, sources) };
}

/** Expert `n` of a bank of matrices, as rows. */
function matrixOf(weights: Weights, path: string, rows: number, columns: number, n = 0): number[][] {
  const data = weights.get(path)!;
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => data[(n * rows + i) * columns + j]!),
  );
}

function logits(model: Model, weights: Weights): ArrayLike<number> {
  const program = buildProgram(model.instance);
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const name = program.main.inputs[0]!.attrs.name;
  return evaluateProgram(program, {
    inputs: { [name]: { axes: [{ name: "T", size: 5 }], data: Float64Array.of(1, 6, 4, 2, 0) } },
    params: (path) => ({ axes: axes.get(path)!, data: weights.get(path)! }),
    sizes: { T: 5 },
  })["logits"]!.data;
}

const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

test.each([
  [2, 2, 2],
  [4, 4, 4],
  [8, 8, 8],
  [2, 4, 8],
])("virtual groups E%i G%i T%i are shards, scaled so that the function stays", (E, G, T) => {
  const source = dense("Llama");
  const { plan, sources, target } = make("virtual_groups", [source], { E, G, T, std: 0.5 });
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
  expect(worst(logits(plan.target, target), logits(source, sources[0]!))).toBeLessThan(1e-5);
});

test("the cube root goes on all three matrices", () => {
  const { sources, target } = make("virtual_groups", [dense("Llama")], { E: 2, G: 8, T: 8, exact: false });
  const up = target.get("blocks[0].ffn.experts.up.w")!;
  up.forEach((x, i) => expect(x).toBeCloseTo(2 * sources[0]!.get("blocks[0].mlp.up.w")![i % (F * D)]!, 12));
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
  const source = dense("Llama");
  const { plan, sources, target } = make("partition", [source], { N: 4, K: 4, scale: 4, std: 0 });
  const rows = matrixOf(sources[0]!, "blocks[0].mlp.gate.w", F, D).map(String);
  const given = Array.from({ length: 4 }, (_, n) => matrixOf(target, "blocks[0].ffn.experts.gate.w", F / 4, D, n));
  const order = given.flat().map((row) => rows.indexOf(String(row)));
  expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: F }, (_, i) => i));
  expect(order).not.toEqual(order.toSorted((a, b) => a - b));
  expect(worst(logits(plan.target, target), logits(source, sources[0]!))).toBeLessThan(1e-9);
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

test("shared and routed experts together are the feed-forward", () => {
  const source = dense("Qwen2");
  const { plan, sources, target } = make("shared_expert", [source], { N: 4, K: 2, std: 0.5 });
  const feed = (name: string): number[] => [...sources[0]!.get(`blocks[0].mlp.${name}.w`)!];
  for (const name of ["gate", "up", "down"]) {
    expect([...target.get(`blocks[0].ffn.shared.${name}.w`)!]).toEqual(feed(name));
    const factor = name === "down" ? 0.5 : 1;
    const experts = [...target.get(`blocks[0].ffn.experts.${name}.w`)!];
    expect(experts).toEqual([0, 1, 2, 3].flatMap(() => feed(name).map((x) => factor * x)));
  }
  expect(worst(logits(plan.target, target), logits(source, sources[0]!))).toBeLessThan(1e-9);
});

test("contracts are checked where their premises hold", () => {
  const { item, scope } = recipe("interpolation");
  expect(runContracts(item, scope, 2, new Map()).map((r) => r.failure)).toEqual([null, null]);
  const tuned = { kind: "name" as const, name: { text: "tuned", span: item.span }, span: item.span };
  const wrong = { ...item, rules: [{ kind: "default" as const, value: tuned, span: item.span }] };
  expect(runContracts(wrong, scope, 2, new Map()).map((r) => r.failure?.replace(/ by .*/, "") ?? null)).toEqual([
    "the logits differ",
    null,
  ]);
});
