/** `moec import` with models that are here: a family that mergekit alone writes, settings in which models differ. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkpoint, make, readAll } from "./import-support.ts";
import { temporary } from "./support.ts";

test("a shared expert without prompts: DeepSeek MoE, which has no gate for it", async () => {
  const { made, tensors } = await make(
    "deep",
    `base_model: ${checkpoint("seed")}
gate_mode: random
dtype: float32
experts:
  - source_model: ${checkpoint("code")}
  - source_model: ${checkpoint("law")}
shared_experts:
  - source_model: ${checkpoint("seed")}
    residual_scale: 0.5
`,
  );
  expect(made.target).toBe("DeepSeekMoE");
  const [base, code, law] = await Promise.all(["seed", "code", "law"].map((n) => readAll(checkpoint(n))));
  const expected = new Map([...base!].filter(([name]) => !name.includes(".mlp.")));
  for (let l = 0; l < 4; l++) {
    for (const matrix of ["gate_proj", "up_proj", "down_proj"]) {
      const source = `model.layers.${l}.mlp.${matrix}.weight`;
      const scale = matrix === "down_proj" ? 0.5 : 1;
      expected.set(source.replace("mlp.", "mlp.experts.0."), code!.get(source)!);
      expected.set(source.replace("mlp.", "mlp.experts.1."), law!.get(source)!);
      expected.set(
        source.replace("mlp.", "mlp.shared_experts."),
        base!.get(source)!.map((v) => scale * v),
      );
    }
    expect(tensors.get(`model.layers.${l}.mlp.gate.weight`)!.length).toBe(2 * 128);
  }
  for (const [name, values] of expected) expect([name, tensors.get(name)]).toEqual([name, values]);
  expect(tensors.size).toBe(expected.size + 4);
  const config = JSON.parse(readFileSync(join(temporary("deep-model"), "config.json"), "utf8")) as object;
  expect(config).toMatchObject({
    model_type: "deepseek",
    architectures: ["DeepseekForCausalLM"],
    n_routed_experts: 2,
    n_shared_experts: 1,
    num_experts_per_tok: 2,
    first_k_dense_replace: 0,
    moe_layer_freq: 1,
    scoring_func: "softmax",
    norm_topk_prob: true,
    moe_intermediate_size: 384,
  });
});

test("settings in which models differ are those of the base", async () => {
  const other = temporary("longer");
  cpSync(checkpoint("law"), other, { recursive: true });
  const config = JSON.parse(readFileSync(join(other, "config.json"), "utf8")) as object;
  const scaling = { rope_type: "linear", factor: 2 };
  const changed = {
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-6,
    rope_scaling: scaling,
    rope_parameters: scaling,
  };
  writeFileSync(join(other, "config.json"), JSON.stringify({ ...config, ...changed, rope_theta: 5e5 }));
  const yaml = (base: string, expert: string): string =>
    `base_model: ${base}\ngate_mode: random\nexperts: [{source_model: ${checkpoint("code")}}, {source_model: ${expert}}]\n`;
  const { made } = await make("differ", yaml(checkpoint("seed"), other));
  const text = readFileSync(made.out, "utf8");
  expect(text).toContain("/// The models differ in eps, theta, rotary, context: as in `base`.");
  expect(text).toMatch(/-> Mixtral\(window: none, eps: 0.00001, theta: 10000.0, rotary: Rotary, context: 512, N: 2/);
  const { made: longer } = await make("longer-base", yaml(other, checkpoint("law")));
  expect(readFileSync(longer.out, "utf8")).toContain('rotary: Rotary(scaling: "linear", factor: 2), context: 1024');
  const written = readFileSync(join(temporary("longer-base-model"), "config.json"), "utf8");
  expect(JSON.parse(written)).toMatchObject({ max_position_embeddings: 1024, rms_norm_eps: 1e-6 });
});
