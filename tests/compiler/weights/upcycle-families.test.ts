/** Recipes over the families of the library: the same rules, the target that each family has, element by element. */
import { describe, expect, test } from "vitest";
import { runContracts } from "../../../compiler/index.ts";
import { MoeError } from "../../../grammar/index.ts";
import {
  change,
  D,
  F,
  L,
  make,
  matrixOf,
  mixture,
  modelFrom,
  randomWeights,
  recipe,
  worst,
} from "./upcycle-support.ts";

/** Dense families, and what each becomes. */
const FAMILIES = [
  ["Llama", "Mixtral"],
  ["Qwen2", "Qwen2MoE"],
  ["Qwen3", "Qwen3MoE"],
  ["Granite", "GraniteMoE"],
] as const;

/** Recipes that keep the function of one dense model, with options under which they do. */
const KEEPING = [
  ["sparse", { N: 4, K: 2 }],
  ["virtual_groups", { E: 2, G: 4, T: 4 }],
  ["drop", { N: 3, share: 0 }],
  ["noise", { N: 3, noise: 0 }],
  ["partition", { N: 4, K: 4, scale: 4, std: 0 }],
  ["moefication", { N: 4, K: 4, scale: 4, std: 0 }],
] as const;

describe.each(FAMILIES)("%s becomes %s", (from, to) => {
  const source = modelFrom(from);

  test.each(KEEPING)("by %s, which keeps its function", (name, options) => {
    const made = make(name, [source], options);
    expect(made.plan.target.name).toBe(to);
    expect(change(made)).toBeLessThan(1e-6);
    const { item, scope } = recipe(name);
    const { decl, scope: own } = source.instance;
    for (const { text, failure } of runContracts(item, scope, [{ decl, scope: own }], new Map()))
      expect([text, failure]).toEqual([text, null]);
  });

  test("by btx, with every model's feed-forward as an expert and the mean of all else", () => {
    const { plan, sources, target } = make("btx", [source, source, source]);
    expect(plan.target.name).toBe(to);
    for (const name of ["gate", "up", "down"]) {
      const experts = target.get(`blocks[1].ffn.experts.${name}.w`)!;
      expect([...experts]).toEqual(sources.flatMap((s) => [...s.get(`blocks[1].mlp.${name}.w`)!]));
    }
    for (const path of source.parameters.map((p) => p.path).filter((p) => !p.includes(".mlp."))) {
      const expected = target.get(path)!.map((_, i) => sources.reduce((sum, s) => sum + s.get(path)![i]! / 3, 0));
      expect(worst(target.get(path)!, expected), path).toBeLessThan(1e-14);
    }
  });

  test("and back", () => {
    const there = make("sparse", [source], { N: 3, K: 1 });
    const back = make("merge_experts", [there.plan.target], {}, null, [there.target]);
    expect(back.plan.target.name).toBe(from);
    expect(change(back)).toBeLessThan(1e-6);
    for (const [path, data] of back.target) {
      // A shared expert that is nothing yet has its place before the others.
      if (to === "Qwen2MoE" && path.includes(".mlp.")) continue;
      expect(worst(data, there.sources[0]!.get(path)!)).toBeLessThan(1e-14);
    }
  });
});

test("a mixture's own parts begin as it says, unless the upcycling gives them", () => {
  const { target } = make("sparse", [modelFrom("Qwen2")], { N: 2 });
  expect(new Set(target.get("blocks[0].ffn.shared.down.w"))).toEqual(new Set([0]));
  expect(new Set(target.get("blocks[0].ffn.gate.w"))).toEqual(new Set([0]));
  expect(new Set(target.get("blocks[0].ffn.shared.up.w")).size).toBe(F * D);
  const shared = make("shared_expert", [modelFrom("Qwen2")], { N: 2 });
  expect(shared.target.get("blocks[0].ffn.shared.down.w")).toEqual(shared.sources[0]!.get("blocks[0].mlp.down.w"));
});

describe("layers that are chosen", () => {
  test.each<[string, string | readonly number[], string | null, readonly number[]]>([
    ["Llama", "every other", "SparseLlama", [1]],
    ["Llama", "last half", "SparseLlama", [1]],
    ["Llama", [0], "SparseLlama", [0]],
    ["Qwen3", "every other", null, [1]],
    ["Qwen2", [0], null, [0]],
    ["Qwen3", "all", null, [0, 1]],
  ])("%s with %j", (from, layers, to, mixtures) => {
    const made = make("sparse", [modelFrom(from)], { N: 3, K: 2, layers }, to);
    for (let l = 0; l < L; l++) {
      const experts = made.target.has(`blocks[${l}].ffn.experts.up.w`);
      expect(experts).toBe(mixtures.includes(l));
      const up = made.target.get(`blocks[${l}].ffn.${experts ? "experts." : ""}up.w`)!;
      const before = [...made.sources[0]!.get(`blocks[${l}].mlp.up.w`)!];
      expect([...up]).toEqual(experts ? [...before, ...before, ...before] : before);
    }
    expect(change(made)).toBeLessThan(1e-6);
  });

  test("need a target that can say which", () => {
    expect(() => make("sparse", [modelFrom("Llama")], { layers: "every other" })).toThrow(
      "`Mixtral` has no parameter `dense`",
    );
    expect(() => make("sparse", [modelFrom("Qwen3")], { layers: "evry other" })).toThrow("`without` takes two lists");
  });

  test("experts may choose tokens, and keep the function when they take all of them", () => {
    const by = (capacity: number, renormalize: boolean): number =>
      change(make("sparse", [modelFrom("Llama")], { N: 2, capacity, renormalize }, "SparseLlama"));
    expect(by(2, true)).toBeLessThan(1e-6);
    expect(by(2, false)).toBeLessThan(1e-6); // two experts that take all: their probabilities sum to one
    expect(by(1, false)).toBeGreaterThan(1e-3);
  });

  test("merge back, mixtures and dense layers alike", () => {
    const there = make("sparse", [modelFrom("Qwen3")], { N: 3, layers: [1] });
    const back = make("merge_experts", [there.plan.target], { weights: [2, 1, 1] }, null, [there.target]);
    expect(change(back)).toBeLessThan(1e-6);
  });
});

describe("experts of several models", () => {
  const three = [0, 1, 2].map(() => modelFrom("Llama"));

  test("split: every model's neurons in equal chunks", () => {
    const { sources, target } = make("split_experts", three, { chunks: 4, K: 4, scale: 2 });
    for (let n = 0; n < 12; n++) {
      const source = sources[Math.floor(n / 4)]!;
      const neurons = [0, 1, 2, 3].map((i) => (n % 4) * 4 + i);
      const up = matrixOf(source, "blocks[1].mlp.up.w", F, D);
      expect(matrixOf(target, "blocks[1].ffn.experts.up.w", 4, D, n)).toEqual(neurons.map((f) => up[f]));
      const down = matrixOf(source, "blocks[1].mlp.down.w", D, F);
      const expected = down.map((row) => neurons.map((f) => 2 * row[f]!));
      expect(matrixOf(target, "blocks[1].ffn.experts.down.w", D, 4, n)).toEqual(expected);
    }
    expect(() => make("split_experts", three, { chunks: 3 })).toThrow("requires `F % chunks == 0`");
  });

  test("blended: expert n has the n-th chunk of every model", () => {
    const four = [...three, three[0]!];
    const { sources, target } = make("blending", four);
    for (let n = 0; n < 4; n++) {
      const chunks = sources.flatMap((s) => matrixOf(s, "blocks[0].mlp.gate.w", F, D).slice(4 * n, 4 * n + 4));
      expect(matrixOf(target, "blocks[0].ffn.experts.gate.w", F, D, n)).toEqual(chunks);
      const down = matrixOf(target, "blocks[0].ffn.experts.down.w", D, F, n);
      down.forEach((row, d) =>
        expect(row).toEqual(
          sources.flatMap((s) => matrixOf(s, "blocks[0].mlp.down.w", D, F)[d]!.slice(4 * n, 4 * n + 4)),
        ),
      );
    }
    expect(() => make("blending", three)).toThrow("requires `F % M == 0`");
  });

  test("are of one family", () => {
    expect(() => make("btx", [modelFrom("Llama"), modelFrom("Qwen2")])).toThrow(MoeError);
  });

  test("one more, for a mixture of any family", () => {
    const there = make("sparse", [modelFrom("Qwen3")], { N: 3 });
    const models = [there.plan.target, modelFrom("Qwen3")];
    const weights = [there.target, randomWeights(models[1]!, 9)];
    const { plan, target } = make("add_expert", models, {}, null, weights);
    expect(plan.target.name).toBe("Qwen3MoE");
    const experts = target.get("blocks[0].ffn.experts.up.w")!;
    expect([...experts]).toEqual([
      ...there.target.get("blocks[0].ffn.experts.up.w")!,
      ...weights[1]!.get("blocks[0].mlp.up.w")!,
    ]);
  });
});

describe("clusters of neurons", () => {
  /** Neurons of two kinds, the second neuron of every pair of the other sign. */
  const model = modelFrom("Llama");
  const weights = new Map(
    [...randomWeights(model, 1)].map(([path, data]): [string, Float64Array] => {
      if (!path.endsWith("mlp.gate.w")) return [path, data];
      return [path, data.map((x, i) => (Math.floor(i / D) % 2 === 0 ? 5 : -5) + 0.1 * x)];
    }),
  );
  const neurons = (options: Readonly<Record<string, number>>): number[][] => {
    const { target } = make("moefication", [model], options, null, [weights]);
    const rows = matrixOf(weights, "blocks[0].mlp.up.w", F, D).map(String);
    const size = F / options["N"]!;
    return Array.from({ length: options["N"]! }, (_, n) =>
      matrixOf(target, "blocks[0].ffn.experts.up.w", size, D, n).map((row) => rows.indexOf(String(row))),
    );
  };

  test("are those that are alike, equally many, each neuron once", () => {
    const [a, b] = neurons({ N: 2, K: 2, seed: 3 });
    expect([...a!, ...b!].sort((x, y) => x - y)).toEqual(Array.from({ length: F }, (_, i) => i));
    expect(new Set(a!.map((f) => f % 2)).size).toBe(1);
    expect(new Set(b!.map((f) => f % 2)).size).toBe(1);
  });

  test("are the same every time, for one seed", () => {
    expect(neurons({ N: 4, seed: 1 })).toEqual(neurons({ N: 4, seed: 1 }));
  });

  test("take all three matrices in one order", () => {
    const { target, sources } = make("moefication", [model], { N: 4, K: 2 }, null, [weights]);
    const order = ["gate", "up"].map((name) => {
      const rows = matrixOf(sources[0]!, `blocks[1].mlp.${name}.w`, F, D).map(String);
      return [0, 1, 2, 3].flatMap((n) =>
        matrixOf(target, `blocks[1].ffn.experts.${name}.w`, 4, D, n).map((row) => rows.indexOf(String(row))),
      );
    });
    expect(order[0]).toEqual(order[1]);
    const down = matrixOf(sources[0]!, "blocks[1].mlp.down.w", D, F);
    for (let n = 0; n < 4; n++) {
      const expected = down.map((row) => order[0]!.slice(4 * n, 4 * n + 4).map((f) => 2 * row[f]!));
      expect(matrixOf(target, "blocks[1].ffn.experts.down.w", D, 4, n)).toEqual(expected);
    }
  });
});

test("a mixture is no dense model", () => {
  expect(() => make("sparse", [mixture])).toThrow("no model is declared to be the mixture of `Mixtral`");
  expect(() => make("merge_experts", [modelFrom("Llama")])).toThrow("`Llama` is no family's mixture");
  expect(() => make("sparse", [modelFrom("Llama")], {}, "Mixtrl")).toThrow("there is no model `Mixtrl`");
});
