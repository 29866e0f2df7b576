/** Mixtures with a shared expert back to dense models, against plain loops over random weights, and where the function stays. */
import { describe, expect, test } from "vitest";
import type { Model } from "../../../compiler/index.ts";
import { modelOf } from "../../support/programs.ts";
import {
  change,
  D,
  F,
  logits,
  make,
  matrixOf,
  modelFrom,
  randomWeights,
  recipeOf,
  type Weights,
  worst,
} from "./upcycle-support.ts";

const S = 6;

/** Random weights of which all experts of a layer are the same. */
function equalExperts(model: Model): Weights {
  return new Map(
    [...randomWeights(model, 1)].map(([path, data]) => {
      const count = model.parameters.find((p) => p.path === path)!.axes[0]!.size;
      const length = data.length / count;
      return [path, path.includes(".experts.") ? data.map((_, i) => data[i % length]!) : data];
    }),
  );
}

const latent = (name: string, more = ""): Model =>
  modelOf(
    `import { ${name} } from "std"\nconfig c: ${name} { V: 7  L: 2  D: 4  F: 6  W: 20  H: 2  Z: 4  P: 2  R: 2  E: 2  N: 3  K: 2 ${more} }\n`,
  );

describe.each([
  ["Qwen2MoE", "Qwen2", modelFrom("Qwen2MoE", `S: ${S}  W: 10  N: 3  K: 2`), "merge_experts", "mlp", F, S, 0.3],
  [
    "GraniteMoEShared",
    "Granite",
    modelFrom("GraniteMoEShared", `S: ${S}  N: 3  K: 2`),
    "merge_experts",
    "mlp",
    F,
    S,
    1,
  ],
  [
    "DeepSeekMoE",
    "Llama",
    modelFrom("DeepSeekMoE", "W: 8  N: 3  K: 2  shared: 2"),
    "merge_experts",
    "mlp",
    F,
    2 * F,
    1,
  ],
  ["DeepSeekV2", "DeepSeekV2", latent("DeepSeekV2", "shared: 2"), "merge_deepseek", "ffn", 6, 12, 1],
  ["DeepSeekV3", "DeepSeekV3", latent("DeepSeekV3"), "merge_deepseek", "ffn", 6, 6, 1],
] as const)("%s becomes %s", (_, to, model, name, place, routed, shared, gate) => {
  test("with the shared expert's neurons before those of the mean of the others", () => {
    const given = name === "merge_experts" ? { gate: 0.3 } : {};
    const { plan, sources, target } = make(name, [model], { weights: [2, 1, 1], routed: 0.8, ...given });
    const [source] = sources;
    expect(plan.target.name).toBe(to);
    for (const l of [0, 1]) {
      const mean = (part: string, r: number, c: number): number[][] => {
        const path = `blocks[${l}].ffn.experts.${part}.w`;
        const [a, b, e] = [0, 1, 2].map((n) => matrixOf(source!, path, r, c, n));
        return a!.map((row, i) => row.map((x, j) => (2 * x + b![i]![j]! + e![i]![j]!) / 4));
      };
      for (const part of ["gate", "up"]) {
        const expected = [
          ...matrixOf(source!, `blocks[${l}].ffn.shared.${part}.w`, shared, D),
          ...mean(part, routed, D),
        ];
        const found = target.get(`blocks[${l}].${place}.${part}.w`)!;
        expect(found.length).toBe(expected.length * D);
        expect(worst(found, expected.flat())).toBeLessThan(1e-14);
      }
      const last = mean("down", D, routed);
      const expected = matrixOf(source!, `blocks[${l}].ffn.shared.down.w`, D, shared).map((row, d) => [
        ...row.map((x) => gate * x),
        ...last[d]!.map((x) => 0.8 * x),
      ]);
      expect(worst(target.get(`blocks[${l}].${place}.down.w`)!, expected.flat())).toBeLessThan(1e-14);
      expect(target.get(`blocks[${l}].norm2.w`)).toEqual(source!.get(`blocks[${l}].norm2.w`));
    }
    expect([...target.keys()].filter((path) => /pick|experts|shared/.test(path))).toEqual([]);
  });
});

test.each([
  ["GraniteMoEShared", "merge_experts", modelFrom("GraniteMoEShared", `S: ${S}  N: 3  K: 2`)],
  ["DeepSeekV3", "merge_deepseek", latent("DeepSeekV3")],
  ["DeepSeekV3 with a dense layer", "merge_deepseek", latent("DeepSeekV3", "first: 1")],
])("%s with equal experts keeps its function", (_, name, model) => {
  expect(change(make(name, [model], {}, null, [equalExperts(model)]))).toBeLessThan(1e-9);
  expect(change(make(name, [model]))).toBeGreaterThan(1e-3);
});

test("zeros stand behind what is narrower than the layers that were dense", () => {
  const made = make("merge_deepseek", [latent("DeepSeekV3", "first: 1")]);
  const [dense, merged] = [0, 1].map((l) => matrixOf(made.target, `blocks[${l}].ffn.gate.w`, 20, D));
  expect(dense!.flat()).toEqual([...made.sources[0]!.get("blocks[0].ffn.gate.w")!]);
  expect(merged!.map((row) => row.every((x) => x === 0))).toEqual(Array.from({ length: 20 }, (_, f) => f >= 12));

  const qwen = modelFrom("Qwen2MoE", `S: ${S}  W: 40  N: 3  K: 2  dense: [0]  renormalize: true`);
  expect(() => make("merge_experts", [qwen], { width: 22 })).toThrow("40 of `F` do not fit into 22");
  for (const [options, width] of [
    [{}, 40],
    [{ width: 48 }, 48],
  ] as const) {
    const up = matrixOf(make("merge_experts", [qwen], options).target, "blocks[1].mlp.up.w", width, D);
    expect(up.map((row) => row.every((x) => x === 0))).toEqual(Array.from({ length: width }, (_, f) => f >= F + S));
  }

  const plain = make("merge_experts", [modelFrom("Qwen3MoE", "W: 40  N: 3  K: 2  dense: [0]  renormalize: true")]);
  const gate = matrixOf(plain.target, "blocks[1].mlp.gate.w", 40, D);
  expect(gate.map((row) => row.every((x) => x === 0))).toEqual(Array.from({ length: 40 }, (_, f) => f >= F));
});

test.each([
  ["Llama", "shared_expert", null],
  ["Llama", "shared_expert", "DeepSeekMoE"],
  ["Qwen2", "shared_expert", null],
  ["Granite", "shared_expert", null],
  ["Granite", "sparse", "GraniteMoEShared"],
] as const)("%s with a shared expert by %s (%s) comes back as it was", (from, name, to) => {
  const source = modelFrom(from);
  const there = make(name, [source], { N: 3, K: 2 }, to);
  const back = make("merge_experts", [there.plan.target], {}, from === "Qwen2" ? null : from, [there.target]);
  expect(back.plan.target.name).toBe(from);
  expect(worst(logits(back.plan.target, back.target), logits(source, there.sources[0]!))).toBeLessThan(1e-9);
});

test("a gate is a number then: another than it had is another function", () => {
  const there = make("shared_expert", [modelFrom("Qwen2")], { N: 3, K: 2 });
  const back = (gate: number): number =>
    change(make("merge_experts", [there.plan.target], { gate }, null, [there.target]));
  expect([back(0.5) < 1e-9, back(0.6) < 1e-3]).toEqual([true, false]);
});

test("what does not fit is refused: more before than there is place for", () => {
  const fewer = recipeOf(`
import { Mixtral } from "std"
upcycle fewer(src: Mixtral) -> Mixtral(N: 2, K: 1) {
  default                    = src
  blocks[l].ffn.experts[n]   = src.blocks[l].ffn.experts[n]
  blocks[l].ffn.pick.score.w = concat[N](src.blocks[l].ffn.pick.score.w, zeros)
  ignore src.blocks[l].ffn
}`);
  expect(() => make(fewer, [modelFrom("Mixtral", "N: 3  K: 2")])).toThrow("3 of `N` do not fit into 2");
});
