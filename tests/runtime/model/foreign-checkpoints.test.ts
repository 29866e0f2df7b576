/** Checkpoints as other programs leave them: quantised, adapters, with buffers beside their weights. Each is read right, or refused early. */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Json } from "../../../compiler/index.ts";
import type { MoeError } from "../../../grammar/index.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import {
  type Config,
  configOf,
  familyFolder,
  type MadeTensor,
  scalar,
  tensorsOf,
  writeModel,
  zeros,
} from "../../support/made-checkpoint.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const llama = await tensorsOf("llama");

/** Loads a Llama with other settings and tensors; gives the notes. */
async function load(folder: string, config: Config, tensors: readonly MadeTensor[]): Promise<readonly string[]> {
  const loaded = await loadModel(await writeModel(folder, { ...configOf("llama"), ...config }, tensors));
  await loaded.checkpoint.close();
  return loaded.notes.map((d) => `${d.code}: ${d.message}`);
}

describe("what quantised a model is told before its tensors are looked at", () => {
  const methods: readonly (readonly [string, Json, string])[] = [
    ["GPTQ", { quant_method: "gptq", bits: 4, group_size: 128, desc_act: false }, "GPTQ in 4 bits"],
    ["AWQ", { quant_method: "awq", bits: 4, group_size: 128, zero_point: true, version: "gemm" }, "AWQ in 4 bits"],
    ["bitsandbytes, 4 bits", { quant_method: "bitsandbytes", load_in_4bit: true }, "bitsandbytes in 4 bits"],
    ["bitsandbytes, 8 bits, of an older release", { load_in_8bit: true }, "bitsandbytes in 8 bits"],
    ["compressed-tensors", { quant_method: "compressed-tensors", format: "pack-quantized" }, "compressed-tensors"],
    ["modelopt", { quant_algo: "NVFP4", quant_method: "modelopt" }, "ModelOpt"],
    ["MXFP8", { quant_method: "mxfp8" }, "MXFP8"],
    ["quanto", { quant_method: "quanto", weights: "int8" }, "quanto"],
    ["hqq", { quant_method: "hqq", quant_config: {} }, "HQQ"],
    ["aqlm", { quant_method: "aqlm" }, "AQLM"],
    ["torchao", { quant_method: "torchao", quant_type: "int4_weight_only" }, "torchao"],
    ["eetq", { quant_method: "eetq", weights: "int8" }, "EETQ"],
    ["fbgemm_fp8", { quant_method: "fbgemm_fp8", activation_scale_ub: 1200 }, "FBGEMM's FP8"],
    ["one that nobody knows", { quant_method: "magic" }, "`magic`"],
    ["one without a name", { w_bit: 4 }, "a method that it does not name"],
    ["FP8 with a scale per tensor", { quant_method: "fp8", activation_scheme: "static" }, "`weight_block_size`"],
    ["FP8 in other blocks", { quant_method: "fp8", weight_block_size: [64, 64] }, "not `[64,64]`"],
    ["FP8 of another format", { quant_method: "fp8", weight_block_size: [128, 128], fmt: "e5m2" }, "`fmt`"],
    [
      "FP8 with a setting that nobody knows",
      { quant_method: "fp8", weight_block_size: [128, 128], rotate: 1 },
      "`rotate`",
    ],
    ["FP8 of a family whose map says nothing of it", { quant_method: "fp8", weight_block_size: [128, 128] }, "`llama`"],
    ["MXFP4 in other blocks", { quant_method: "mxfp4", block_size: 16 }, "`block_size`"],
  ];

  test.each(methods)("%s", async (_, quantization, words) => {
    await withScratch(async (folder) => {
      // There is nothing but a config, so that nothing else can have been looked at.
      const config = { ...configOf("llama"), quantization_config: quantization };
      await writeFile(join(folder, "config.json"), JSON.stringify(config));
      await expectFailure(loadModel(folder), "checkpoint/quantized", folder, words, "made from");
    });
  });

  test.each(["compression_config", "quantization"])("under the key %s", async (key) => {
    await withScratch(async (folder) => {
      await writeFile(join(folder, "config.json"), JSON.stringify({ ...configOf("llama"), [key]: { bits: 4 } }));
      await expectFailure(loadModel(folder), "checkpoint/quantized", "4 bits");
    });
  });

  test("in the part about text", async () => {
    await withScratch(async (folder) => {
      const text = { ...configOf("llama"), quantization_config: { quant_method: "awq", bits: 4 } };
      await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "llava", text_config: text }));
      await expectFailure(loadModel(folder), "checkpoint/quantized", "AWQ");
    });
  });

  test.each([
    ["quantize_config.json", "GPTQ"],
    ["quant_config.json", "AWQ"],
    ["hf_quant_config.json", "ModelOpt"],
  ])("in %s beside the weights", async (name, words) => {
    await withScratch(async (folder) => {
      await cp(familyFolder("llama"), folder, { recursive: true });
      await writeFile(join(folder, name), '{"bits":4}');
      await expectFailure(loadModel(folder), "checkpoint/quantized", words, name);
    });
  });

  test("it is pointed at, and what to do is said", async () => {
    await withScratch(async (folder) => {
      const config = {
        ...configOf("llama"),
        quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true },
      };
      await writeModel(folder, config, []);
      const error: unknown = await loadModel(folder).catch((cause: unknown) => cause);
      const [diagnostic] = (error as MoeError).diagnostics;
      const [label] = diagnostic!.labels;
      expect(label!.span.file.text.slice(label!.span.start)).toMatch(/^"quantization_config"/);
      expect(diagnostic!.help).toContain("model.dequantize()");
    });
  });

  test.each([
    "q_proj.qweight",
    "q_proj.weight_scale",
    "q_proj.weight.absmax",
    "q_proj.weight.quant_state.bitsandbytes__nf4",
    "q_proj.SCB",
  ])("by the name of a part, where no file says it: %s", async (part) => {
    await withScratch(async (folder) => {
      const name = "model.layers.0.self_attn.q_proj.weight";
      const tensors = [
        ...llama.filter((t) => t.name !== name),
        zeros(name, "U8", [9, 1], 1),
        zeros(`model.layers.0.self_attn.${part}`, "F32", [3]),
      ];
      await expectFailure(load(folder, {}, tensors), "checkpoint/quantized", part, "made from");
    });
  });

  test("nothing is refused where nothing is said", async () => {
    await withScratch(async (folder) => {
      expect(await load(folder, { quantization_config: null, compression_config: {} }, llama)).toEqual([]);
    });
  });

  test.each([
    ["I8", 1],
    ["U8", 1],
    ["I32", 4],
    ["I64", 8],
    ["BOOL", 1],
  ] as const)("whole numbers of type %s are never taken as weights", async (dtype, width) => {
    await withScratch(async (folder) => {
      const name = "model.layers.1.mlp.up_proj.weight";
      const changed = llama.map((t) => (t.name === name ? zeros(name, dtype, t.shape, width) : t));
      await expectFailure(load(folder, {}, changed), "checkpoint/encoding", name, `is ${dtype}`, "quantised");
    });
  });
});

describe("an adapter", () => {
  const settings = { base_model_name_or_path: "meta/Base-7B", peft_type: "LORA", r: 8 };
  const write = (folder: string, more: object = {}): Promise<void> =>
    writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...settings, ...more }));

  test("alone is told as what it is, with the command that merges it", async () => {
    await withScratch(async (folder) => {
      await write(folder);
      const parts = ["`meta/Base-7B`", "LORA", "merge_and_unload", folder];
      await expectFailure(loadModel(folder), "checkpoint/adapter", ...parts);
    });
  });

  test("beside a model is not left out in silence", async () => {
    await withScratch(async (folder) => {
      await cp(familyFolder("llama"), folder, { recursive: true });
      await write(folder);
      await expectFailure(loadModel(folder), "checkpoint/adapter", "beside a model", "adapter_config.json");
    });
  });

  test("that cannot be merged is not said to be", async () => {
    await withScratch(async (folder) => {
      await write(folder, { peft_type: "PREFIX_TUNING" });
      await expectFailure(loadModel(folder), "checkpoint/adapter", "cannot be merged");
    });
  });

  test("among the weights is found by its names", async () => {
    await withScratch(async (folder) => {
      const name = "model.layers.0.self_attn.q_proj.lora_A.default.weight";
      await expectFailure(load(folder, {}, [...llama, zeros(name, "F32", [4, 48])]), "checkpoint/adapter", name);
    });
  });
});

describe("a folder of the hub's cache", () => {
  const [old, fresh] = ["0a1b", "f00d"];

  /** As the hub lays it out: files are links to blobs. */
  async function cache(scratch: string, main: string | null, ...snapshots: readonly string[]): Promise<string> {
    const root = join(scratch, "models--org--name");
    await mkdir(join(root, "refs"), { recursive: true });
    await mkdir(join(root, "snapshots"), { recursive: true });
    await cp(familyFolder("llama"), join(root, "blobs"), { recursive: true });
    await cp("examples/checkpoints/seed/tokenizer.json", join(root, "blobs", "tokenizer.json"));
    if (main !== null) await writeFile(join(root, "refs", "main"), main);
    for (const name of snapshots) {
      await mkdir(join(root, "snapshots", name));
      for (const file of ["config.json", "model.safetensors", "tokenizer.json"])
        await symlink(join("..", "..", "blobs", file), join(root, "snapshots", name, file));
    }
    return root;
  }

  test.each([
    ["of main", fresh, [old, fresh]],
    ["that is the only one", null, [fresh]],
    ["that is the only one, of a branch that is not here", "dead", [fresh]],
  ])("stands for the snapshot %s", async (_, main, snapshots) => {
    await withScratch(async (scratch) => {
      const root = await cache(scratch, main, ...snapshots);
      const loaded = await loadModel(root);
      await loaded.checkpoint.close();
      expect(loaded.checkpoint.path).toBe(join(root, "snapshots", fresh));
      expect((await loadTokenizer(root)).vocabularySize).toBe(2048);
    });
  });

  test("with several snapshots and no main is not chosen from", async () => {
    await withScratch(async (scratch) => {
      const root = await cache(scratch, null, old, fresh);
      await expectFailure(loadModel(root), "checkpoint/snapshots", old, fresh);
      await expectFailure(loadTokenizer(root), "checkpoint/snapshots", old, fresh);
    });
  });

  test("without a snapshot is told as what it is", async () => {
    await withScratch(async (scratch) => {
      await expectFailure(loadModel(await cache(scratch, "dead")), "checkpoint/snapshots", "no snapshot");
    });
  });
});

describe("buffers beside the weights", () => {
  const harmless: readonly MadeTensor[] = [
    zeros("model.rotary_emb.inv_freq", "F32", [4]),
    zeros("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [4]),
    zeros("model.layers.1.self_attn.rotary_emb.original_inv_freq", "BF16", [4], 2),
    zeros("model.layers.0.self_attn.rotary_emb.cos_cached", "F32", [1, 1, 8, 4]),
    zeros("model.layers.0.self_attn.bias", "BOOL", [1, 1, 8, 8], 1),
    zeros("h.0.attn.bias", "U8", [1, 1, 8, 8], 1),
    scalar("h.0.attn.masked_bias", -1e4),
    zeros("model.embeddings.position_ids", "I64", [1, 8], 8),
    scalar("model.layers.0.self_attn.k_scale", 1),
    scalar("model.layers.0.self_attn.v_proj.v_scale", 1),
    zeros("model.layers.0.self_attn.q_proj._extra_state", "U8", [12], 1),
  ];

  test.each(["llama", "qwen2_moe", "gpt2", "mixtral", "cohere"])(
    "are no harm in a checkpoint of %s",
    async (family) => {
      await withScratch(async (folder) => {
        const own = new Set((await tensorsOf(family)).map((t) => t.name));
        const tensors = [...(await tensorsOf(family)), ...harmless.filter((t) => !own.has(t.name))];
        const loaded = await loadModel(await writeModel(folder, configOf(family), tensors));
        await loaded.checkpoint.close();
        expect(loaded.notes).toEqual([]);
      });
    },
  );

  test("scales of a cache that are not 1 are left out with a word", async () => {
    await withScratch(async (folder) => {
      const scales = [0, 1].map((l) => scalar(`model.layers.${l}.self_attn.k_scale`, 0.5));
      const [warning, ...more] = await load(folder, {}, [...llama, ...scales]);
      expect(more).toEqual([]);
      expect(warning).toMatch(/^checkpoint\/left-out: .*layers\.0\.self_attn\.k_scale/);
    });
  });

  test.each([
    zeros("model.layers.0.self_attn.bias", "F32", [48]),
    zeros("model.layers.0.self_attn.k_scale", "F32", [8]),
    zeros("model.layers.0.self_attn.inv_freqs", "F32", [4]),
    zeros("model.position_ids", "F32", [1, 8]),
    zeros("model.layers.0.mlp.up_proj.bias", "F32", [64]),
  ])("$name of another shape or type may be a weight, and is not left out", async (tensor) => {
    await withScratch((folder) =>
      expectFailure(load(folder, {}, [...llama, tensor]), "checkpoint/unused-tensor", tensor.name),
    );
  });
});
