/** mergekit's gates that are made of prompts, element by element against plain loops over the base's weights. */
import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../../runtime/load/load-tokenizer.ts";
import { add, type Layer, mean, runLlama, scale, unit, type Vector } from "../support/plain-llama.ts";
import { checkpoint, make, readAll } from "./import-support.ts";

test("routers from embeddings of prompts: the sum of their tokens, of length one", async () => {
  const prompts = {
    code: { positive: ["def f(x):", "return x + 1"], negative: ["the licence"] },
    law: { positive: ["the licence and the copyright"], negative: [] },
    shared: { positive: ["anything, anything"], negative: ["def f(x):"] },
  };
  const text = (name: string, { positive, negative }: (typeof prompts)[keyof typeof prompts]): string =>
    `  - source_model: ${checkpoint(name)}\n    positive_prompts: ${JSON.stringify(positive)}\n    negative_prompts: ${JSON.stringify(negative)}\n`;
  const { tensors } = await make(
    "embedded",
    `base_model: ${checkpoint("seed")}
gate_mode: cheap_embed
dtype: float32
experts:
${text("code", prompts.code)}${text("law", prompts.law)}shared_experts:
${text("seed", prompts.shared)}`,
  );
  const tokenizer = await loadTokenizer(checkpoint("seed"));
  const embedding = (await readAll(checkpoint("seed"))).get("model.embed_tokens.weight")!;
  const normalise = (row: readonly number[]): number[] => {
    const length = Math.sqrt(row.reduce((n, v) => n + v * v, 0));
    return row.map((v) => v / length);
  };
  const embed = (texts: readonly string[]): number[] => {
    const ids = texts.flatMap((t) => tokenizer.encodeText(t));
    return normalise(Array.from({ length: 128 }, (_, i) => ids.reduce((n, id) => n + embedding[id * 128 + i]!, 0)));
  };
  const rows = Object.values(prompts).map(({ positive, negative }) => {
    const away = negative.length === 0 ? null : embed(negative);
    return normalise(embed(positive).map((v, i) => v - (away?.[i] ?? 0)));
  });
  const close = (name: string, expected: readonly number[]): void => {
    const values = tensors.get(name)!;
    expect(values.length).toBe(expected.length);
    const largest = expected.reduce((n, v, i) => Math.max(n, Math.abs(v - values[i]!)), 0);
    expect([name, largest < 1e-6]).toEqual([name, true]);
  };
  for (let l = 0; l < 4; l++) {
    close(`model.layers.${l}.mlp.gate.weight`, [...rows[0]!, ...rows[1]!]);
    close(`model.layers.${l}.mlp.shared_expert_gate.weight`, rows[2]!);
  }
});

describe("routers from what the base's feed-forwards are given on prompts", () => {
  const prompts = [
    { positive: ["def f(x):", 'return "x" + 1'], negative: ["the licence", "a"] },
    { positive: ["the licence and the copyright"], negative: [] },
  ] as const;
  const yaml = (mode: string): string =>
    `base_model: ${checkpoint("seed")}
${mode}dtype: float32
experts:
${prompts.map(({ positive, negative }, i) => `  - source_model: ${checkpoint(["code", "law"][i]!)}\n    positive_prompts: ${JSON.stringify(positive)}\n    negative_prompts: ${JSON.stringify(negative)}\n`).join("")}`;

  test.each([
    ["", "last"],
    ["gate_mode: hidden_avg\n", "mean"],
  ])("%j: of each prompt the %s", async (mode, each) => {
    const { tensors } = await make(`hidden-${each}`, yaml(mode));
    const tokenizer = await loadTokenizer(checkpoint("seed"));
    const weights = await readAll(checkpoint("seed"));
    const sizes = { L: 4, D: 128, F: 384, G: 2, R: 2, C: 32, eps: 1e-5 };
    const run = (text: string): readonly Layer[] =>
      runLlama((path) => weights.get(tensorOf(path))!, sizes, [...tokenizer.encodeText(text)]);
    const take = (layer: Layer): Vector => (each === "last" ? layer.mlp.at(-1)! : mean(layer.mlp));
    for (let l = 0; l < 4; l++) {
      const given = (texts: readonly string[]): Vector => mean(texts.map((text) => take(run(text)[l]!)));
      const rows = prompts.map(({ positive, negative }) =>
        unit(negative.length === 0 ? given(positive) : add(given(positive), scale(given(negative), -1))),
      );
      const values = tensors.get(`model.layers.${l}.block_sparse_moe.gate.weight`)!;
      expect(values.length).toBe(2 * 128);
      rows.flat().forEach((v, i) => expect(Math.abs(v - values[i]!)).toBeLessThan(2e-5));
    }
  });
});

/** Where a Llama keeps a parameter. */
const tensorOf = (path: string): string =>
  path
    .replace("embed.w", "model.embed_tokens.weight")
    .replace(/^blocks\[(\d+)\]/, "model.layers.$1")
    .replace("norm1.w", "input_layernorm.weight")
    .replace("norm2.w", "post_attention_layernorm.weight")
    .replace(/attn\.(\w)\.w/, "self_attn.$1_proj.weight")
    .replace(/mlp\.(\w+)\.w/, "mlp.$1_proj.weight");
