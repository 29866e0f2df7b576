import { copyFile, cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { expectFailure, withScratch, writeRaw } from "./scratch.ts";

const families = "tests/fixtures/families";
const sharded = `${families}/mixtral_bf16_sharded`;
const INDEX = "model.safetensors.index.json";
const SHARDS = [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`);

interface Index {
  weight_map: Record<string, string>;
}

/** Runs `body` with a copy of the sharded checkpoint, after its index was changed. */
async function withSharded(edit: (index: Index) => void, body: (directory: string) => Promise<void>): Promise<void> {
  await withScratch(async (directory) => {
    await cp(sharded, directory, { recursive: true });
    const index = JSON.parse(await readFile(join(directory, INDEX), "utf8")) as Index;
    edit(index);
    await writeFile(join(directory, INDEX), JSON.stringify(index));
    await body(directory);
  });
}

describe("a checkpoint", () => {
  test("of one file is a namespace of tensors with places that hold in the file", async () => {
    const checkpoint = await openCheckpoint(`${families}/llama`);
    expect(checkpoint.config?.["model_type"]).toBe("llama");
    const tensor = checkpoint.tensors.get("model.embed_tokens.weight")!;
    expect(tensor).toMatchObject({ dtype: "F32", shape: [96, 48], bytes: 96 * 48 * 4 });
    const file = await readFile(tensor.file);
    expect(await checkpoint.readTensor(tensor.name)).toEqual(
      new Uint8Array(file.subarray(tensor.offset, tensor.offset + tensor.bytes)),
    );
    await checkpoint.close();
  });

  test("in bfloat16 shards holds what our rounding makes of the same weights in float32", async () => {
    const checkpoint = await openCheckpoint(sharded);
    expect(new Set([...checkpoint.tensors.values()].map((tensor) => tensor.file))).toEqual(
      new Set(SHARDS.map((name) => join(sharded, name))),
    );
    const unrounded = await openCheckpoint(`${families}/mixtral`);
    expect(new Set(checkpoint.tensors.keys())).toEqual(new Set(unrounded.tensors.keys()));
    for (const name of checkpoint.tensors.keys()) {
      const rounded = fromFloat32("BF16", await unrounded.toFloat32(name));
      expect(await checkpoint.readTensor(name)).toEqual(rounded);
      expect(await checkpoint.toFloat32(name)).toEqual(toFloat32("BF16", rounded));
    }
    await checkpoint.close();
    await unrounded.close();
  });

  test("gives slices, many at once, into memory of the caller", async () => {
    const checkpoint = await openCheckpoint(`${families}/llama`);
    const whole = await checkpoint.readTensor("lm_head.weight");
    const gathered = new Uint8Array(whole.byteLength);
    const step = 1000;
    const starts = Array.from({ length: Math.ceil(whole.byteLength / step) }, (_, i) => i * step);
    await Promise.all(
      starts.map((start) => {
        const length = Math.min(step, whole.byteLength - start);
        return checkpoint.readSlice("lm_head.weight", start, length, gathered.subarray(start));
      }),
    );
    expect(gathered).toEqual(whole);
    await expectFailure(
      checkpoint.readTensor("lm_haed.weight"),
      "checkpoint/unknown-tensor",
      families,
      "`lm_head.weight`",
    );
    await checkpoint.close();
  });

  test("may be one file of any name, by itself or alone in its directory, with or without a configuration", async () => {
    const golden = await openCheckpoint(`${families}/llama/golden.safetensors`);
    const logits = await golden.toFloat32("logits.0");
    const greedy = await golden.toFloat32("greedy");
    expect(logits.length).toBe(17 * 96);
    // The first greedy token is the argmax of the last logits: offsets, dtypes and shapes are all right.
    const last = logits.subarray(16 * 96);
    expect(last.indexOf(Math.max(...last))).toBe(greedy[17]);
    await golden.close();
    const alone = await openCheckpoint("tests/fixtures/mix/btx");
    expect(alone.config).toBeNull();
    expect([...alone.tensors.keys()].sort()).toEqual(["ids", "logits", "router"]);
    await alone.close();
  });
});

describe("a checkpoint is refused with its name", () => {
  test("when nothing is there, or nothing to read", async () => {
    await withScratch(async (directory) => {
      await expectFailure(openCheckpoint(join(directory, "none")), "checkpoint/missing", "none");
      await expectFailure(openCheckpoint(directory), "checkpoint/no-weights", directory);
      await writeFile(join(directory, "pytorch_model.bin"), "");
      await expectFailure(openCheckpoint(directory), "checkpoint/no-weights", "pytorch_model.bin");
      const empty = '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}';
      await writeRaw(join(directory, "a.safetensors"), empty, 0);
      await writeRaw(join(directory, "b.safetensors"), empty, 0);
      await expectFailure(openCheckpoint(directory), "checkpoint/ambiguous-weights", "a.safetensors, b.safetensors");
    });
  });

  test("when a shard is missing or damaged", async () => {
    await withSharded(
      () => {},
      async (directory) => {
        await writeFile(join(directory, SHARDS[2]!), "");
        await expectFailure(openCheckpoint(directory), "checkpoint/bad-header", SHARDS[2]!);
        await rm(join(directory, SHARDS[2]!));
        await expectFailure(loadModel(directory), "checkpoint/missing-shard", SHARDS[2]!, "model.");
        for (const shard of SHARDS) await rm(join(directory, shard), { force: true });
        await expectFailure(openCheckpoint(directory), "checkpoint/missing-shard", SHARDS[2]!);
      },
    );
  });

  test("when its index puts a tensor into another shard than the one it is in", async () => {
    await withSharded(
      (index) => (index.weight_map["lm_head.weight"] = SHARDS[1]!),
      (directory) =>
        expectFailure(openCheckpoint(directory), "checkpoint/index-mismatch", "`lm_head.weight`", SHARDS[0]!),
    );
  });

  test("when a tensor is in two shards", async () => {
    await withSharded(
      (index) => (index.weight_map["twice"] = "model-extra.safetensors"),
      async (directory) => {
        await copyFile(join(directory, SHARDS[0]!), join(directory, "model-extra.safetensors"));
        await expectFailure(
          openCheckpoint(directory),
          "checkpoint/index-mismatch",
          "two shards",
          SHARDS[0]!,
          "model-extra",
        );
      },
    );
  });

  test.each(["../secret.safetensors", "/etc/passwd", "a\\b.safetensors", 3])(
    "when its index points at %s",
    async (place) => {
      await withSharded(
        (index) => Object.assign(index.weight_map, { "lm_head.weight": place }),
        (directory) => expectFailure(openCheckpoint(directory), "checkpoint/bad-index", "`lm_head.weight`"),
      );
    },
  );

  test("when its index or configuration is no JSON object", async () => {
    await withSharded(
      () => {},
      async (directory) => {
        await writeFile(join(directory, "config.json"), "[1]");
        await expectFailure(openCheckpoint(directory), "checkpoint/bad-json", "config.json");
        await writeFile(join(directory, "config.json"), "{");
        await expectFailure(openCheckpoint(directory), "checkpoint/bad-json", "config.json");
        await writeFile(join(directory, INDEX), '{"weight_map":[]}');
        await expectFailure(openCheckpoint(directory), "checkpoint/bad-index", INDEX);
      },
    );
  });
});

describe("an index that lists more or less than the shards hold", () => {
  const notesOf = async (directory: string): Promise<readonly string[]> => {
    const { checkpoint, notes } = await loadModel(directory);
    await checkpoint.close();
    return notes.map((d) => `${d.severity} ${d.code}: ${d.message.replace(directory, "X")}`);
  };

  test("is a note where all that is needed is there", async () => {
    await withSharded(
      (index) => {
        index.weight_map["ghost"] = SHARDS[0]!;
        index.weight_map["gone"] = "model-00009-of-00009.safetensors";
      },
      async (directory) =>
        expect(await notesOf(directory)).toEqual([
          "warning checkpoint/index-mismatch: the index of X lists ghost, gone, which no file holds and nothing needs",
        ]),
    );
    await withSharded(
      (index) => delete index.weight_map["lm_head.weight"],
      async (directory) =>
        expect(await notesOf(directory)).toEqual([
          "warning checkpoint/index-mismatch: the index of X does not list lm_head.weight, which its shards hold",
        ]),
    );
  });

  test("is an error with tensor and file where something is missing", async () => {
    const name = "model.layers.1.input_layernorm.weight";
    await withSharded(
      (index) => {
        const shard = index.weight_map[name]!;
        delete index.weight_map[name];
        index.weight_map["model.norm.weight"] = shard;
      },
      (directory) => expectFailure(loadModel(directory), "checkpoint/index-mismatch", "model.norm.weight"),
    );
    await withSharded(
      () => {},
      async (directory) => {
        const file = join(directory, SHARDS[0]!);
        const bytes = await readFile(file);
        // The tensor under another name, of the same length.
        await writeFile(
          file,
          Buffer.from(bytes.toString("latin1").replace("lm_head.weight", "lm_haed.weight"), "latin1"),
        );
        await expectFailure(
          loadModel(directory),
          "checkpoint/index-mismatch",
          `\`${SHARDS[0]!}\``,
          "has no tensor `lm_head.weight`",
        );
      },
    );
  });
});
