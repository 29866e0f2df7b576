/** What becomes of whole models: blocks that choose their tokens, ensembles at the output. Weights and functions against plain loops. */
import { describe, expect, test } from "vitest";
import { runContracts } from "../../../compiler/index.ts";
import { change, D, logits, make, modelFrom, type Options, recipe, V, worst } from "./upcycle-support.ts";

describe.each(["Llama", "Qwen2", "Qwen3"])("%s", (from) => {
  const source = modelFrom(from);

  test.each([
    ["depths", "DepthsLlama", {}],
    ["depths_experts", "SparseDepthsLlama", { N: 3, K: 2 }],
  ])("by %s chooses tokens in every other block, and is what it was where all are chosen", (name, to, options) => {
    const { plan, sources, target } = make(name, [source], options);
    expect(plan.target.name).toBe(to);
    const [given] = sources;
    for (const [path, data] of given!) {
      const [, l, part] = /^blocks\[(\d)\]\.(.*)$/.exec(path) ?? [];
      const feed = to === "DepthsLlama" ? part : part?.replace("mlp.", "ffn.experts.");
      const there = part === undefined ? path : `blocks[${l}].${l === "1" ? "inside." : ""}${feed}`;
      const copies = feed === part ? 1 : 3;
      expect([...target.get(there)!], path).toEqual(Array.from({ length: copies }, () => [...data]).flat());
    }
    expect(new Set(target.get("blocks[1].score.w")).size).toBe(D);
    expect([...target.get("blocks[1].score.b")!, ...target.get("blocks[1].narrow.b")!]).toEqual([1, 1]);
    expect(target.has("blocks[0].score.w")).toBe(false);

    const all = { ...options, share: 1, std: 0 };
    expect(change(make(name, [source], all))).toBeLessThan(1e-6);
    expect(change(make(name, [source], { ...all, layers: [0] }))).toBeLessThan(1e-6);
    const fewer = make(name, [source], { ...all, share: 0.4 });
    expect(change(fewer)).toBeGreaterThan(1e-3);
    // Generation begins with a guess that lets all through.
    const generating = logits(fewer.plan.target, fewer.target, "generate");
    expect(worst(generating, logits(source, fewer.sources[0]!))).toBeLessThan(1e-6);
    const { item, scope } = recipe(name);
    const { decl, scope: own } = source.instance;
    for (const { text, failure } of runContracts(item, scope, [{ decl, scope: own }], new Map()))
      expect([text, failure]).toEqual([text, null]);
  });
});

describe.each(["Llama", "Qwen2", "Qwen3"])("%s by idle_experts", (from) => {
  const source = modelFrom(from);

  test("has copies of its feed-forwards, and rows in the router for experts that are not there", () => {
    const { plan, sources, target } = make("idle_experts", [source], { N: 3, K: 2, idle: 2 });
    expect(plan.target.name).toBe("SparseLlama");
    for (const [path, data] of sources[0]!) {
      const there = path.replace(".mlp.", ".ffn.experts.");
      const copies = there === path ? 1 : 3;
      expect([...target.get(there)!], path).toEqual(Array.from({ length: copies }, () => [...data]).flat());
    }
    const rows = target.get("blocks[1].ffn.pick.pick.score.w")!;
    expect([rows.length, new Set(rows).size]).toEqual([5 * D, 5 * D]);
    expect(new Set(target.keys()).size).toBe(sources[0]!.size + 2);
  });

  test.each<[Options]>([[{}], [{ renormalize: false }], [{ layers: [1] }]])(
    "computes what a mixture does whose last experts give zeros, %j",
    (options) => {
      const { plan, sources, target } = make("idle_experts", [source], { N: 3, K: 2, idle: 2, std: 1, ...options });
      const other = make("sparse", [source], { N: 5, K: 2, std: 1, ...options }, "SparseLlama", sources);
      const weights = new Map(
        [...other.target].map(([path, data]) => {
          const router = target.get(path.replace("pick.score", "pick.pick.score"))!;
          const isLast = (i: number): boolean => path.includes(".experts.down") && i >= (3 * data.length) / 5;
          return [path, path.includes("pick.score") ? router : data.map((x, i) => (isLast(i) ? 0 : x))];
        }),
      );
      const found = logits(plan.target, target);
      expect(worst(found, logits(other.plan.target, weights))).toBeLessThan(1e-12);
      expect(worst(found, logits(source, sources[0]!))).toBeGreaterThan(1e-3);
    },
  );

  test("is what it was while all ties go to the copies", () => {
    expect(change(make("idle_experts", [source], { std: 0 }))).toBeLessThan(1e-6);
    const { item, scope } = recipe("idle_experts");
    const { decl, scope: own } = source.instance;
    for (const { text, failure } of runContracts(item, scope, [{ decl, scope: own }], new Map()))
      expect([text, failure]).toEqual([text, null]);
  });
});

test.each<[Options["layers"], readonly boolean[]]>([
  ["all", [true, true]],
  ["last half", [false, true]],
  [[0], [true, false]],
])("of the layers %o choose", (layers, routed) => {
  const { target } = make("depths", [modelFrom("Llama")], { layers: layers! });
  expect(routed.map((_, l) => target.has(`blocks[${l}].inside.attn.q.w`))).toEqual(routed);
  expect(routed.map((_, l) => target.has(`blocks[${l}].attn.q.w`))).toEqual(routed.map((r) => !r));
});

test("of a mixture of depths and experts some blocks are for all tokens", () => {
  expect(() => make("depths_experts", [modelFrom("Llama")], { layers: "all" })).toThrow('requires `layers != "all"`');
});

test("a family that no declaration names is refused", () => {
  expect(() => make("depths", [modelFrom("Cohere")])).toThrow(
    "`DepthsLlama` is not declared to be the mixture of `Cohere`",
  );
});

describe.each([
  ["Llama", ""],
  ["Qwen3", "tie: true"],
  ["Granite", ""],
  ["Cohere", ""],
  ["Gemma2", ""],
])("an ensemble of models of %s", (family, more) => {
  const models = [1, 2, 3].map(() => modelFrom(family, more));
  // The sequence that `logits` runs.
  const ids = [1, 6, 4, 2, 0];

  /** log Σ_n p(n | x_≤t) p_n(x | x_≤t), with every model's probabilities multiplied up. */
  function ensembleOf(rows: readonly ArrayLike<number>[], prior: readonly number[], top: number): number[] {
    const chance = (z: ArrayLike<number>, t: number): number[] => {
      const e = Array.from({ length: V }, (_, v) => Math.exp(z[t * V + v]!));
      const sum = e.reduce((a, b) => a + b);
      return e.map((x) => x / sum);
    };
    const found: number[] = [];
    let weights = [...prior];
    for (let t = 0; t < ids.length; t++) {
      if (t > 0) weights = weights.map((w, n) => w * chance(rows[n]!, t - 1)[ids[t]!]!);
      // Equal ones in their order.
      const best = weights
        .map((_, n) => n)
        .sort((a, b) => weights[b]! - weights[a]! || a - b)
        .slice(0, top);
      const kept = weights.map((w, n) => (best.includes(n) ? w : 0));
      const sum = kept.reduce((a, b) => a + b);
      for (let v = 0; v < V; v++)
        found.push(Math.log(kept.reduce((p, w, n) => p + (w / sum) * chance(rows[n]!, t)[v]!, 0)));
    }
    return found;
  }

  test.each<[Options, readonly number[], number]>([
    [{}, [1, 1, 1], 3],
    [{ prior: [3, 1, 2] }, [3, 1, 2], 3],
    [{ prior: [1, 0, 1], top: 2 }, [1, 0, 1], 2],
    [{ top: 1 }, [1, 1, 1], 1],
  ])("%o has its models whole, and weighs them by what they said of the tokens so far", (options, prior, top) => {
    const { plan, sources, target } = make("ensemble", models, options);
    expect(plan.target.name).toBe("Ensemble");
    for (const [path] of sources[0]!)
      expect([...target.get(`models.${path}`)!]).toEqual(sources.flatMap((s) => [...s.get(path)!]));
    const rows = sources.map((s, n) => logits(models[n]!, s));
    const found = logits(plan.target, target);
    expect(worst(found, ensembleOf(rows, prior, top))).toBeLessThan(1e-9);
    expect(worst(found, ensembleOf(rows, [1, 5, 1], top))).toBeGreaterThan(1e-3);
  });

  test("refuses models that are not of one shape", () => {
    const other = modelFrom(family, `${more} eps: 0.25`);
    expect(() => make("ensemble", [models[0]!, other])).toThrow("the sources disagree on `eps`");
  });
});
