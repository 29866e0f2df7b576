/** Checkpoints whose names stand behind others, or within a model of several senses: they are the model that their text part is. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Json } from "../../../compiler/index.ts";
import { exportModel } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import {
  type Config,
  configOf,
  familyFolder,
  type MadeTensor,
  tensorsOf,
  writeModel,
  zeros,
} from "../../support/made-checkpoint.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

type Rename = (name: string) => string;

const renamed = (tensors: readonly MadeTensor[], rename: Rename): readonly MadeTensor[] =>
  tensors.map((tensor) => ({ ...tensor, name: rename(tensor.name) }));

/** Every parameter has the values that the family's fixture has. */
async function expectSame(made: LoadedModel, family: string): Promise<void> {
  const plain = await loadModel(familyFolder(family));
  try {
    expect(made.model.name).toBe(plain.model.name);
    expect(made.model.parameters.map((p) => p.path)).toEqual(plain.model.parameters.map((p) => p.path));
    for (const { path, axes } of plain.model.parameters) {
      const count = axes.reduce((n, a) => n * a.size, 1);
      const [ours, theirs] = [await made.source.read(path, 0, count), await plain.source.read(path, 0, count)];
      expect(Buffer.compare(ours, theirs), path).toBe(0);
    }
  } finally {
    await plain.checkpoint.close();
  }
}

async function withModel(
  config: Config,
  tensors: readonly MadeTensor[],
  body: (loaded: LoadedModel, folder: string) => Promise<void>,
): Promise<void> {
  await withScratch(async (scratch) => {
    const folder = await writeModel(join(scratch, "model"), config, tensors);
    const loaded = await loadModel(folder);
    await body(loaded, scratch).finally(() => loaded.checkpoint.close());
  });
}

const said = ({ notes }: LoadedModel): string => notes.map((d) => `${d.code}: ${d.message}`).join("\n");

describe("names behind others are read, with a note", () => {
  const ways: readonly (readonly [string, string, Rename, RegExp])[] = [
    ["module.", "llama", (n) => `module.${n}`, /with `model\.` for `module\.model\.`/],
    ["_orig_mod.", "llama", (n) => `_orig_mod.${n}`, /without the names of what the model was wrapped in/],
    ["module._orig_mod.", "llama", (n) => `module._orig_mod.${n}`, /`module\.model\.`, and without/],
    [
      "_orig_mod. in the middle",
      "llama",
      (n) => n.replace(/layers\.(\d+)\./, "layers.$1._orig_mod."),
      /without the names/,
    ],
    ["base_model.model.", "llama", (n) => `base_model.model.${n}`, /`base_model\.model\.model\.`/],
    ["language_model.", "mixtral", (n) => `language_model.${n}`, /`language_model\.model\.`/],
    [
      "model.language_model., beside the head",
      "qwen3",
      (n) => n.replace(/^model\./, "model.language_model."),
      /`model\.language_model\.`/,
    ],
    ["no model.", "llama", (n) => n.replace(/^model\./, ""), /as if `model\.` stood in front/],

    ["no gpt_neox.", "gpt_neox", (n) => n.replace(/^gpt_neox\./, ""), /as if `gpt_neox\.` stood in front/],
    ["a name of one's own, of fused experts", "mixtral_fused", (n) => `policy.net.${n}`, /`policy\.net\.model\.`/],
  ];
  test.each(ways)("%s (%s)", async (_, family, rename, words) => {
    await withModel(configOf(family), renamed(await tensorsOf(family), rename), async (loaded) => {
      expect(said(loaded)).toMatch(/^checkpoint\/renamed: /);
      expect(said(loaded)).toMatch(words);
      await expectSame(loaded, family);
    });
  });

  test("where nothing stands in front, nothing is said", async () => {
    await withModel(configOf("llama"), await tensorsOf("llama"), async (loaded) => expect(said(loaded)).toBe(""));
  });

  test("what is written has the map's names, and says where its bytes come from", async () => {
    const tensors = renamed(await tensorsOf("llama"), (n) => `module.${n}`);
    await withModel(configOf("llama"), tensors, async (loaded, scratch) => {
      const [place] = loaded.source.places!("norm.w", 0, 48);
      expect(place!.tensor).toBe("module.model.norm.weight");
      await exportModel(loaded, join(scratch, "out"));
      const again = await loadModel(join(scratch, "out"));
      expect(again.notes).toEqual([]);
      await expectSame(again, "llama").finally(() => again.checkpoint.close());
    });
  });

  test("two sets of names are not chosen from, but named", async () => {
    const llama = await tensorsOf("llama");
    const both = [...renamed(llama, (n) => `student.${n}`), ...renamed(llama, (n) => `teacher.${n}`)];
    await withScratch(async (scratch) => {
      const folder = await writeModel(join(scratch, "model"), configOf("llama"), both);
      await expectFailure(loadModel(folder), "checkpoint/prefix", "`student.model.`", "`teacher.model.`");
    });
  });

  test("what stands beside them is not left out, and is named as it is stored", async () => {
    const tensors = [
      ...renamed(await tensorsOf("llama"), (n) => `module.${n}`),
      zeros("module.value.weight", "F32", [1, 48]),
    ];
    await withScratch(async (scratch) => {
      const folder = await writeModel(join(scratch, "model"), configOf("llama"), tensors);
      await expectFailure(loadModel(folder), "checkpoint/unused-tensor", "module.value.weight");
    });
  });

  test("one that is missing behind them is named", async () => {
    const tensors = renamed(await tensorsOf("llama"), (n) => `module.${n}`).filter(
      (t) => !t.name.endsWith("1.mlp.up_proj.weight"),
    );
    await withScratch(async (scratch) => {
      const folder = await writeModel(join(scratch, "model"), configOf("llama"), tensors);
      await expectFailure(loadModel(folder), "checkpoint/missing-tensor", "`model.layers.1.mlp.up_proj.weight`");
    });
  });
});

describe("of a model of several senses its part about text is read", () => {
  const vision: readonly MadeTensor[] = [
    zeros("vision_model.model.layers.0.self_attn.q_proj.weight", "F32", [8, 8]),
    zeros("vision_model.class_embedding", "F32", [8]),
    zeros("multi_modal_projector.linear_1.weight", "F32", [48, 8]),
  ];

  /** A config as such models have it: `text` in `key`, with what the whole says around it. */
  const around = (type: string, text: Config, more: Config = {}, key = "text_config"): Config => ({
    architectures: ["SomeForConditionalGeneration"],
    model_type: type,
    [key]: text,
    vision_config: { hidden_size: 8, num_hidden_layers: 1, model_type: "some_vision" },
    ...more,
  });

  test("Llama 4 as it is published", async () => {
    const { architectures: _, ...text } = configOf("llama4_text");
    // The published files say this by an empty list, and by a number.
    const published: Config = { ...text, attn_temperature_tuning: 4, tie_word_embeddings: false };
    const tensors = [...renamed(await tensorsOf("llama4_text"), (n) => `language_model.${n}`), ...vision];
    await withModel(around("llama4", published, { boi_token_index: 7 }), tensors, async (loaded, scratch) => {
      expect(loaded.map.item.name.text).toBe("llama4_text");
      expect(said(loaded)).toContain("without the tensors of `vision_model` (2), `multi_modal_projector` (1)");
      await expectSame(loaded, "llama4_text");
      await exportModel(loaded, join(scratch, "out"));
      const again = await loadModel(join(scratch, "out"));
      expect(again.notes).toEqual([]);
      expect(again.config.json).toMatchObject({ model_type: "llama4_text", hidden_size: 48 });
      await expectSame(again, "llama4_text").finally(() => again.checkpoint.close());
    });
  });

  test("an empty list of layers without positions is as none", async () => {
    const text: Config = { ...configOf("llama4_text"), no_rope_layers: [], no_rope_layer_interval: 2 };
    await withModel(text, await tensorsOf("llama4_text"), (loaded) => expectSame(loaded, "llama4_text"));
  });

  const layouts: readonly (readonly [string, string, string, Rename, readonly MadeTensor[]])[] = [
    ["as transformers 4 writes them", "llama", "text_config", (n) => `language_model.${n}`, vision],
    [
      "as transformers 5 writes them",
      "qwen3",
      "text_config",
      (n) => n.replace(/^model\./, "model.language_model."),
      [zeros("model.vision_tower.layers.0.norm.weight", "F32", [8]), zeros("model.projector.weight", "F32", [8])],
    ],
    [
      "with the text's names as they are",
      "mistral",
      "llm_config",
      (n) => n,
      [zeros("visual.blocks.0.norm.weight", "F32", [8])],
    ],
  ];
  test.each(layouts)("%s (%s, %s)", async (_, family, key, rename, others) => {
    const tensors = [...others, ...renamed(await tensorsOf(family), rename)];
    await withModel(around("several", configOf(family), {}, key), tensors, async (loaded) => {
      expect(said(loaded)).toMatch(/checkpoint\/left-out: only what .* has about text is read/);
      await expectSame(loaded, family);
    });
  });

  test("what the part does not say, the whole does", async () => {
    const { tie_word_embeddings: _, bos_token_id: __, ...text } = configOf("llama");
    const whole: Readonly<Record<string, Json>> = { tie_word_embeddings: true, bos_token_id: 3 };
    const tensors = (await tensorsOf("llama")).filter((t) => t.name !== "lm_head.weight");
    await withModel(around("several", text, whole), tensors, async ({ config, model }) => {
      expect(config.json).toMatchObject(whole);
      expect(model.parameters.some((p) => p.path === "head.w")).toBe(false);
    });
  });

  test("a head of its own is not lost among other parts", async () => {
    const text = { ...configOf("llama"), tie_word_embeddings: true };
    for (const rename of [
      (n: string) => `language_model.${n}`,
      (n: string) => n.replace(/^model\./, "model.language_model."),
    ]) {
      const tensors = [...renamed(await tensorsOf("llama"), rename), ...vision];
      await withModel(around("several", text), tensors, (loaded) => expectSame(loaded, "llama"));
    }
    const wrapped = renamed(await tensorsOf("llama"), (n) => `module.${n}`);
    await withModel(text, wrapped, (loaded) => expectSame(loaded, "llama"));
  });

  test("a tensor among the text's own is not left out", async () => {
    const tensors = renamed(await tensorsOf("llama"), (n) => `language_model.${n}`);
    const cross = zeros("language_model.model.layers.1.cross_attn.q_proj.weight", "F32", [48, 48]);
    await withScratch(async (scratch) => {
      const folder = await writeModel(join(scratch, "model"), around("several", configOf("llama")), [
        ...tensors,
        cross,
        ...vision,
      ]);
      await expectFailure(loadModel(folder), "checkpoint/unused-tensor", cross.name);
    });
  });

  test("of a part that no map reads, the part's type is named, at its place", async () => {
    await withScratch(async (scratch) => {
      const config = around("several", { ...configOf("llama"), model_type: "strange_text" });
      const folder = await writeModel(join(scratch, "model"), config, await tensorsOf("llama"));
      await expectFailure(loadModel(folder), "map/unknown-family", "`strange_text`");
    });
  });

  test("what is wrong in the part is pointed at there", async () => {
    await withScratch(async (scratch) => {
      const text = { ...configOf("llama"), hidden_act: "relu" };
      const config = { hidden_act: "silu", ...around("several", text) };
      const folder = await writeModel(join(scratch, "model"), config, []);
      const error = (await loadModel(folder).catch((cause: unknown) => cause)) as {
        diagnostics: { labels: { span: { start: number; file: { text: string } } }[] }[];
      };
      const { span } = error.diagnostics[0]!.labels[0]!;
      expect(span.file.text.slice(span.start)).toMatch(/^"hidden_act": "relu"/);
    });
  });
});
