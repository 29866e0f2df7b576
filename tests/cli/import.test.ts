/** `moec import`: what mergekit-moe says, as an upcycling; the models that come of it, element by element. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkpoint, family, make, readAll } from "./import-support.ts";
import { anonymous, moec, temporary, writeFile } from "./support.ts";

const deviation = (values: Float32Array): number => Math.sqrt(values.reduce((n, v) => n + v * v, 0) / values.length);

test("experts come from their models, scaled and with noise, all else from the base: Mixtral", async () => {
  const { made, tensors } = await make(
    "three",
    `base_model: ${checkpoint("seed")}
gate_mode: random
dtype: float32
experts_per_token: 3
experts:
  - source_model: ${checkpoint("code")}
    positive_prompts: ["def f(x):"]
  - source_model: ${checkpoint("law")}
    residual_scale: 0.3
  - source_model: ${checkpoint("code")}
    noise_scale: 0.05
    residual_scale: -2
`,
  );
  expect([made.target, made.missing]).toEqual(["Mixtral", []]);
  const [base, code, law] = await Promise.all(["seed", "code", "law"].map((n) => readAll(checkpoint(n))));
  const expected = new Map([...base!].filter(([name]) => !name.includes(".mlp.")));
  const noisy: [Float32Array, Float32Array, number][] = [];
  for (let l = 0; l < 4; l++) {
    for (const [from, to] of [
      ["gate_proj", "w1"],
      ["up_proj", "w3"],
      ["down_proj", "w2"],
    ] as const) {
      const source = `model.layers.${l}.mlp.${from}.weight`;
      const target = (n: number): string => `model.layers.${l}.block_sparse_moe.experts.${n}.${to}.weight`;
      const scale = to === "w2" ? Math.fround(0.3) : 1;
      expected.set(target(0), code!.get(source)!);
      expected.set(
        target(1),
        law!.get(source)!.map((v) => scale * v),
      );
      noisy.push([tensors.get(target(2))!, code!.get(source)!, to === "w2" ? -2 : 1]);
    }
  }
  for (const [name, values] of expected) expect([name, tensors.get(name)]).toEqual([name, values]);
  for (const [values, source, scale] of noisy) {
    const noise = values.map((v, i) => v - scale * source[i]!);
    expect(deviation(noise) / Math.abs(scale)).toBeCloseTo(0.05, 2);
  }
  const routers = [...tensors].filter(([name]) => name.endsWith("gate.weight"));
  expect(routers.map(([, values]) => values.length)).toEqual([3, 3, 3, 3].map((n) => n * 128));
  for (const [, values] of routers) expect(Math.abs(deviation(values) - 1)).toBeLessThan(0.15);
  expect(tensors.size).toBe(expected.size + noisy.length + routers.length);
});

test("a shared expert: Qwen MoE, which has biases", async () => {
  const { made, tensors } = await make(
    "shared",
    `base_model: ${checkpoint("seed")}
gate_mode: uniform_random
experts:
  - source_model: ${checkpoint("code")}
  - source_model: ${checkpoint("law")}
shared_experts:
  - source_model: ${checkpoint("seed")}
    positive_prompts: [anything]
    residual_scale: 0.5
`,
  );
  expect(made.target).toBe("Qwen2MoE");
  const [base, code, law] = await Promise.all(["seed", "code", "law"].map((n) => readAll(checkpoint(n))));
  const expected = new Map([...base!].filter(([name]) => !name.includes(".mlp.")));
  const drawn: string[] = [];
  for (let l = 0; l < 4; l++) {
    for (const matrix of ["gate_proj", "up_proj", "down_proj"]) {
      const source = `model.layers.${l}.mlp.${matrix}.weight`;
      const target = (part: string): string => source.replace("mlp.", `mlp.${part}.`);
      expected.set(target("experts.0"), code!.get(source)!);
      expected.set(target("experts.1"), law!.get(source)!);
      const scale = matrix === "down_proj" ? 0.5 : 1;
      expected.set(
        target("shared_expert"),
        base!.get(source)!.map((v) => scale * v),
      );
    }
    for (const [head, size] of Object.entries({ q: 128, k: 64, v: 64 }))
      expected.set(`model.layers.${l}.self_attn.${head}_proj.bias`, new Float32Array(size));
    drawn.push(`model.layers.${l}.mlp.gate.weight`, `model.layers.${l}.mlp.shared_expert_gate.weight`);
  }
  for (const [name, values] of expected) expect([name, tensors.get(name)]).toEqual([name, values]);
  for (const name of drawn) {
    const values = tensors.get(name)!;
    const largest = values.reduce((n, v) => Math.max(n, Math.abs(v)), 0);
    expect(largest).toBeLessThanOrEqual(128 ** -0.5 * (1 + 2 ** -8));
    expect(largest).toBeGreaterThan(0.9 * 128 ** -0.5);
  }
  expect(tensors.size).toBe(expected.size + drawn.length);
  const config = JSON.parse(readFileSync(join(temporary("shared-model"), "config.json"), "utf8")) as object;
  const settings = { norm_topk_prob: true, qkv_bias: true, moe_intermediate_size: 384, use_sliding_window: false };
  expect(config).toMatchObject({ ...settings, shared_expert_intermediate_size: 384, num_experts_per_tok: 2 });
});

describe("the architecture is that of mergekit", () => {
  const two = (name: string, more = ""): string =>
    `base_model: ${family(name)}\ngate_mode: random\nexperts: [{source_model: ${family(name)}}, {source_model: ${family(name)}}]\n${more}`;
  const shared = (name: string): string => `shared_experts: [{source_model: ${family(name)}}]\n`;

  test.each([
    ["llama", "", "Mixtral"],
    ["mistral", "", "Mixtral"],
    ["qwen3", "", "Qwen3MoE"],
    ["qwen2", shared("qwen2"), "Qwen2MoE"],
    ["mistral", `${shared("mistral")}architecture: QWEN\n`, "Qwen2MoE"],
    ["llama", shared("llama"), "DeepSeekMoE"],
    ["llama", "architecture: deepseek\n", "DeepSeekMoE"],
  ])("%s %j becomes %s", async (name, more, target) => {
    const { made } = await make(`of-${name}-${more.length}`, two(name, more));
    expect(made.target).toBe(target);
    expect(made.command.filter((word) => word === family(name))).toHaveLength(1);
  });

  test("a sliding window is left out of Mixtral, as there", async () => {
    await make("windowless", two("mistral"));
    const config = JSON.parse(readFileSync(join(temporary("windowless-model"), "config.json"), "utf8")) as object;
    expect(config).toMatchObject({ sliding_window: null });
  });
});

test("models of a hub keep their names, told apart, and the command waits for folders", async () => {
  const file = writeFile(
    "hub of models.yml",
    `base_model: org/Base-7B
gate_mode: random
experts:
  - source_model: &one a/Model-7B-v0.1
  - source_model: b/Model_7b_v0.1
  - source_model: "it's 2"
  - source_model: *one
`,
  );
  const run = await moec("import", file);
  expect(run.code).toBe(0);
  expect(anonymous(run.err)).toMatchInlineSnapshot(`
    "wrote hub of models.moe
    taken to be of llama or mistral; else say \`architecture:\` in hub of models.yml
    org/Base-7B is no folder here: put that of the model in its place
    a/Model-7B-v0.1 is no folder here: put that of the model in its place
    b/Model_7b_v0.1 is no folder here: put that of the model in its place
    it's 2 is no folder here: put that of the model in its place
    "
  `);
  expect(anonymous(run.out)).toMatchInlineSnapshot(`
    "moec upcycle 'hub of models.moe' --from org/Base-7B a/Model-7B-v0.1 b/Model_7b_v0.1 'it'\\''s 2' --out 'hub of models'
    "
  `);
  expect(readFileSync(file.replace(/yml$/, "moe"), "utf8")).toMatchInlineSnapshot(`
    "edition 2026

    import { Mixtral } from "std"

    /// hub of models.yml of mergekit-moe: all but the feed-forwards from \`base\`, each feed-forward an expert.
    /// base: org/Base-7B
    /// model_7b_v0_1: a/Model-7B-v0.1
    /// model_7b_v0_1_2: b/Model_7b_v0.1
    /// it_s_2: it's 2
    upcycle hub_of_models(base: model, model_7b_v0_1: model, model_7b_v0_1_2: model, it_s_2: model, seed = 1)
      -> Mixtral(window: none, N: 4, K: 2) {
      default = base
      blocks[l].ffn {
        experts[0]   = model_7b_v0_1.blocks[l].mlp
        experts[1]   = model_7b_v0_1_2.blocks[l].mlp
        experts[2]   = it_s_2.blocks[l].mlp
        experts[3]   = model_7b_v0_1.blocks[l].mlp
        pick.score.w = normal(std: 1.0, seed: seed)
      }
      ignore base.blocks[l].mlp.gate.w
      ignore base.blocks[l].mlp.up.w
      ignore base.blocks[l].mlp.down.w
      ignore model_7b_v0_1
      ignore model_7b_v0_1_2
      ignore it_s_2
    }
    "
  `);
});

test("models and types are written in every way that mergekit reads", async () => {
  const { made } = await make(
    "references",
    `base_model: {model: {path: ${checkpoint("seed")}, revision: main}, lora: null}
gate_mode: random
dtype: torch.float16
experts:
  - source_model: {model: ${checkpoint("code")}@main}
  - source_model: {path: ${checkpoint("law")}}
  - source_model: ${checkpoint("code")}
`,
  );
  expect(made.missing).toEqual([]);
  const from = made.command.slice(made.command.indexOf("--from") + 1, made.command.indexOf("--out"));
  expect(from).toEqual(["seed", "code", "law"].map(checkpoint));
  expect(made.command.slice(-2)).toEqual(["--dtype", "f16"]);
});

test("a revision of a model that is not here stays with its name", async () => {
  const file = writeFile(
    "revisions.yml",
    `base_model: org/base\ngate_mode: random\nexperts:\n  - source_model: {model: {path: org/a, revision: v1}}\n  - source_model: org/a@v2\n`,
  );
  const { out } = await moec("import", file, "--json");
  expect((JSON.parse(out) as { missing: string[] }).missing).toEqual(["org/base", "org/a@v1", "org/a@v2"]);
});

test("a file that is there is left alone", async () => {
  const file = writeFile(
    "kept.yml",
    `base_model: a\ngate_mode: random\nexperts: [{source_model: b}, {source_model: c}]\n`,
  );
  const kept = writeFile("kept.moe", "mine");
  const run = await moec("import", file);
  expect([run.code, anonymous(run.err)]).toEqual([
    1,
    "error[cli/file-exists]: kept.moe exists already\n  = help: give another name with --out, or remove it\n",
  ]);
  expect(readFileSync(kept, "utf8")).toBe("mine");
});

const experts = "experts: [{source_model: a}, {source_model: b}]\n";
const start = "base_model: a\ngate_mode: random\n";

test.each([
  ["import/yaml", "an unclosed list", "base_model: a\nexperts: [\n  - b\nx: 1\n"],
  ["import/yaml", "a key twice", `base_model: b\n${start}${experts}`],
  ["import/unknown-key", "a typing mistake", `${start}${experts}expert_per_token: 2\n`],
  ["import/unknown-key", "dense merging", "merge_method: ties\nmodels:\n  - model: a\nbase_model: b\n"],
  ["import/unknown-key", "a key of an expert", `${start}experts:\n  - source_model: a\n    weight: 0.5\n`],
  ["import/missing-key", "no base", `gate_mode: random\n${experts}`],
  ["import/missing-key", "one expert, and not how many are chosen", `${start}experts: [{ source_model: a }]\n`],
  ["import/missing-key", "no experts", `${start}experts:\n`],
  ["import/missing-key", "no model of an expert", `${start}experts:\n  - positive_prompts: [x]\n`],
  ["import/bad-value", "text instead of a configuration", "just text\n"],
  ["import/bad-value", "an expert that is a name", `${start}experts:\n  - a\n`],
  ["import/bad-value", "more experts per token than there are", `${start}${experts}experts_per_token: 3\n`],
  ["import/bad-value", "a type", `${start}${experts}dtype: int8\n`],
  [
    "import/bad-value",
    "an adapter in keys",
    `${start}experts: [{source_model: {model: a, lora: b}}]\nexperts_per_token: 1\n`,
  ],
  [
    "import/unknown-key",
    "an architecture in keys",
    `${start}experts: [{source_model: {model: a, override_architecture: b}}]\nexperts_per_token: 1\n`,
  ],
  [
    "import/missing-key",
    "a revision of nothing",
    `${start}experts: [{source_model: {revision: b}}]\nexperts_per_token: 1\n`,
  ],
  ["import/bad-value", "an adapter", `${start}experts: [{source_model: a+lora}]\nexperts_per_token: 1\n`],
  [
    "import/bad-value",
    "prompts that are no list",
    `${start}experts: [{source_model: a, positive_prompts: x}]\nexperts_per_token: 1\n`,
  ],
  [
    "import/bad-value",
    "a prompt without a text",
    `${start}experts: [{source_model: a, positive_prompts: [x, ""]}, {source_model: b, positive_prompts: [y]}]\n`,
  ],
  [
    "import/bad-value",
    "a scale that is no number",
    `${start}experts: [{source_model: a, residual_scale: big}]\nexperts_per_token: 1\n`,
  ],
  ["import/unsupported", "a gate mode", `base_model: a\ngate_mode: magic\n${experts}`],
  ["import/missing-key", "no prompts to run", `base_model: a\ngate_mode: hidden_avg\n${experts}`],
  ["import/missing-key", "no prompts, and none said to be needed", `base_model: a\n${experts}`],
  [
    "import/unsupported",
    "embeddings of a model that is not here",
    `base_model: a\ngate_mode: cheap_embed\nexperts:\n  - {source_model: a, positive_prompts: [x]}\n  - {source_model: a, positive_prompts: [y]}\n`,
  ],
  ["import/missing-key", "no prompts to embed", `base_model: a\ngate_mode: cheap_embed\n${experts}`],
  [
    "import/bad-value",
    "prompts that are the same",
    `base_model: a\ngate_mode: cheap_embed\nexperts:\n  - {source_model: a, positive_prompts: [x]}\n  - {source_model: b, positive_prompts: [x]}\n`,
  ],
  ["import/no-architecture", "an unknown architecture", `${start}${experts}architecture: dbrx\n`],
  [
    "import/no-architecture",
    "two shared experts",
    `${start}${experts}shared_experts: [{source_model: a}, {source_model: b}]\n`,
  ],
  [
    "import/no-architecture",
    "models of other types",
    `base_model: ${family("llama")}\ngate_mode: random\nexperts: [{source_model: ${family("qwen3")}}, {source_model: b}]\n`,
  ],
])("%s: %s", async (code, name, yaml) => {
  const file = writeFile(`${name.replaceAll(" ", "-")}.yml`, yaml);
  const run = await moec("import", file);
  expect([run.code, run.out]).toEqual([1, ""]);
  expect(run.err).toContain(`error[${code}]`);
  expect(anonymous(run.err)).toMatchSnapshot();
  expect(existsSync(file.replace(/yml$/, "moe"))).toBe(false);
});
