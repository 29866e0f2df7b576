/**
 * config.json, and what may stand beside it (adapters, quantisation): of every family that there is a checkpoint of, read through its map
 * with the weights at hand. A model that comes of it is compiled, once per set of settings.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toJson } from "../../compiler/index.ts";
import { loadModel } from "../../runtime/load/load-model.ts";
import { openWorkspace } from "../../runtime/load/modules.ts";
import type { Bench, Input } from "./kind.ts";
import { checkPlan } from "./moe.ts";
import { type Json, mutateJson } from "./mutate-json.ts";
import type { Random } from "./random.ts";

const FAMILIES = "tests/fixtures/families";

/** What published configurations have that these have not: taken over into them now and then. */
const PUBLISHED: readonly Json[] = [
  { quantization_config: { quant_method: "gptq", bits: 4, group_size: 128, desc_act: false } },
  { quantization_config: { quant_method: "fp8", fmt: "e4m3", weight_block_size: [128, 128] } },
  { quantization_config: { load_in_4bit: true, bnb_4bit_quant_type: "nf4" } },
  { rope_scaling: { type: "yarn", factor: 4.0, original_max_position_embeddings: 64 } },
  {
    rope_parameters: {
      rope_type: "llama3",
      factor: 8.0,
      low_freq_factor: 1.0,
      high_freq_factor: 4.0,
      original_max_position_embeddings: 8192,
    },
  },
  { rope_parameters: { rope_type: "longrope", short_factor: [1.0, 1.0], long_factor: [1.0, 2.0], rope_theta: 1e6 } },
  {
    rope_parameters: {
      full_attention: { rope_type: "default" },
      sliding_attention: { rope_type: "linear", factor: 2.0 },
    },
  },
  { text_config: { model_type: "llama", hidden_size: 64 }, vision_config: { hidden_size: 32 } },
  {
    layer_types: ["full_attention", "sliding_attention"],
    sliding_window: 16,
    tie_word_embeddings: true,
    auto_map: { AutoModel: "a.B" },
  },
];

/** Files that may stand beside a config. */
const BESIDE: Readonly<Record<string, Json>> = {
  "adapter_config.json": { peft_type: "LORA", base_model_name_or_path: "base", r: 8, target_modules: ["q_proj"] },
  "quantize_config.json": { bits: 4, group_size: 128, desc_act: true },
  "hf_quant_config.json": { producer: { name: "modelopt" }, quantization: { quant_algo: "FP8" } },
  "generation_config.json": { bos_token_id: 0, eos_token_id: [1], max_length: 20 },
};

/** One set of settings in fifty: to compile is a hundred times the work of to load. */
const isChosen = (settings: string): boolean =>
  [...settings].reduce((n, c) => (n * 31 + c.codePointAt(0)!) % 65521, 0) % 50 === 0;

export async function openConfig(folder: string): Promise<Bench> {
  const families = (await readdir(FAMILIES)).sort();
  const configs = new Map<string, Json>();
  for (const family of families) {
    const from = join(FAMILIES, family);
    await mkdir(join(folder, family));
    for (const name of await readdir(from))
      if (/^model.*(safetensors|index\.json)$/.test(name)) await cp(join(from, name), join(folder, family, name));
    configs.set(family, JSON.parse(await readFile(join(from, "config.json"), "utf8")) as Json);
    await writeFile(join(folder, family, "config.json"), JSON.stringify(configs.get(family)));
  }
  const documents = [...configs.values(), ...PUBLISHED];
  const workspace = openWorkspace();
  const compiled = new Set<string>();
  return {
    make(random: Random): Input {
      const family = random.pick(families);
      const config = configs.get(family)!;
      if (random.chance(0.05)) {
        const [name, beside] = random.pick(Object.entries(BESIDE));
        return { at: `${family}/${name}`, text: mutateJson(beside, random, documents) };
      }
      const more = random.chance(0.2) ? { ...(config as object), ...(random.pick(PUBLISHED) as object) } : config;
      return { at: `${family}/config.json`, text: mutateJson(more as Json, random, documents) };
    },
    async run({ at, text }) {
      const path = join(folder, at);
      const directory = join(folder, at.split("/")[0]!);
      const sound = at.endsWith("/config.json") ? JSON.stringify(configs.get(at.split("/")[0]!)) : null;
      await writeFile(path, text);
      try {
        const { checkpoint, model } = await loadModel(directory, workspace);
        await checkpoint.close();
        const settings = `${model.name} ${JSON.stringify([...model.args].map(([name, value]) => [name, toJson(value)]))}`;
        if (isChosen(settings) && !compiled.has(settings)) checkPlan(model);
        compiled.add(settings);
      } finally {
        if (sound === null) await rm(path);
        else await writeFile(path, sound);
      }
      return [];
    },
  };
}
