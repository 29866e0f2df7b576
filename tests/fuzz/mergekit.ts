/** Configurations of mergekit: read, their architecture chosen, the upcycling written; and that must be right by the compiler's own check. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse as parseYaml, stringify } from "yaml";
import { checkModule, Workspace } from "../../compiler/index.ts";
import { chooseArchitecture } from "../../runtime/mergekit/architecture.ts";
import { readMergekit } from "../../runtime/mergekit/config.ts";
import { makeGate } from "../../runtime/mergekit/gate.ts";
import { writeRecipe } from "../../runtime/mergekit/recipe.ts";
import { settleSettings } from "../../runtime/mergekit/settings.ts";
import { standardLibrary } from "../../runtime/load/modules.ts";
import { type Bench, type Input, Nonsense } from "./kind.ts";
import { type Json, mutateJson } from "./mutate-json.ts";
import { mutateText, tokensOf } from "./mutate-text.ts";
import type { Random } from "./random.ts";
import { tokenizers } from "./tokenizers.ts";

const TEXTS = [
  `base_model: {llama}
gate_mode: random
dtype: bfloat16
experts:
  - source_model: {llama}
    positive_prompts: ["def f(x):", "code"]
    negative_prompts:
      - "poems"
    noise_scale: 0.05
  - source_model: {llama}
    residual_scale: -2
    positive_prompts: [anything]
experts_per_token: 2
`,
  `base_model: someone/base
gate_mode: hidden
architecture: qwen
experts:
  - source_model: someone/a # the first
    positive_prompts: ["a", 'b: "c"', "d\\\\e"]
  - source_model: ./models/b-2
    positive_prompts: &p ["x"]
shared_experts:
  - source_model: someone/base
    positive_prompts: *p
    residual_scale: 0.1
`,
  `merge_method: linear
models: [{model: a, parameters: {weight: 1.0}}]
dtype: torch.bfloat16
`,
  `base_model: {llama}
gate_mode: cheap_embed
experts: [{source_model: {llama}, positive_prompts: [a b]}, {source_model: {llama}, positive_prompts: [ba]}]
`,
];

export async function openMergekit(folder: string): Promise<Bench> {
  const llama = join(folder, "llama");
  await mkdir(llama);
  await cp("tests/fixtures/families/llama/config.json", join(llama, "config.json"));
  await writeFile(join(llama, "tokenizer.json"), JSON.stringify(tokenizers.bytes));
  const texts = TEXTS.map((text) => text.replaceAll("{llama}", "LLAMA"));
  const documents = texts.map((text) => parseYaml(text) as Json);
  let [workspace, opened] = [newWorkspace(), 0];
  return {
    make(random: Random): Input {
      const at = random.index(texts.length);
      if (random.chance(0.5)) {
        const json = mutateJson(documents[at]!, random, documents);
        return { at: `${at}`, text: random.chance(0.5) ? json : toYaml(json) };
      }
      return { at: `${at}`, text: mutateText(texts[at]!, random, () => tokensOf(random.pick(texts))) };
    },
    async run({ text }) {
      const config = readMergekit({ path: "mixture.yml", text: text.replaceAll("LLAMA", llama) });
      const { architecture } = await chooseArchitecture(config);
      const differing = await settleSettings(config, architecture);
      const recipe = writeRecipe(config, architecture, await makeGate(config, architecture), differing, "mixture");
      const scope = workspace.open({ path: `mixture-${opened++}.moe`, text: recipe.text });
      const wrong = checkModule(scope).find((d) => d.severity === "error");
      if (opened % 500 === 0) workspace = newWorkspace();
      if (wrong !== undefined)
        throw new Nonsense(`the upcycling is wrong: ${wrong.code}\n${wrong.message}\n${recipe.text}`);
      return [];
    },
  };
}

const newWorkspace = (): Workspace => new Workspace({ std: standardLibrary(), load: () => null });

function toYaml(json: string): string {
  try {
    return stringify(JSON.parse(json));
  } catch {
    return json;
  }
}
