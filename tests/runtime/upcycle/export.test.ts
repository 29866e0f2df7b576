/** Import and export together change nothing. */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { diskFolder } from "../../../runtime/load/disk-folder.ts";
import { toJson } from "../../../compiler/index.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { readConfigFile } from "../../../runtime/model/config-file.ts";
import { exportModel, planExport } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { withScratch } from "../checkpoint/scratch.ts";

const root = "tests/fixtures/families";
const folders = [...readdirSync(root).map((name) => join(root, name)), "examples/checkpoints/seed"];

/** Every tensor: type, shape and bytes. */
async function readAll(folder: string): Promise<ReadonlyMap<string, string>> {
  const checkpoint = await openCheckpoint(folder);
  try {
    const all = new Map<string, string>();
    for (const { name, dtype, shape } of checkpoint.tensors.values()) {
      const bytes = Buffer.from(await checkpoint.readTensor(name)).toString("base64");
      all.set(name, `${dtype} [${shape.join(", ")}] ${bytes}`);
    }
    return all;
  } finally {
    await checkpoint.close();
  }
}

/** Arguments of the model that a folder holds. */
async function readArguments(folder: string): Promise<Record<string, unknown>> {
  const { model, checkpoint } = await loadModel(folder);
  await checkpoint.close();
  return Object.fromEntries([...model.args].map(([name, value]) => [name, toJson(value)]));
}

describe.each(folders)("%s", (folder) => {
  test("every tensor is the same, byte for byte, and the config means the same model", async () => {
    await withScratch(async (scratch) => {
      const out = join(scratch, "out");
      const loaded = await loadModel(folder);
      await exportModel(loaded, out).finally(() => loaded.checkpoint.close());
      expect(await readAll(out)).toEqual(await readAll(folder));
      expect(await readArguments(out)).toEqual(await readArguments(folder));
      const [before, after] = await Promise.all([folder, out].map((path) => readConfigFile(diskFolder(path))));
      // A head's width that was left to be computed is written out; who wrote the file is no longer true.
      const said = Object.entries(before!.json).filter(
        ([key, value]) => value !== null && key !== "transformers_version",
      );
      expect(after!.json).toMatchObject(Object.fromEntries(said));
      expect(after!.json).not.toHaveProperty("transformers_version");
    });
  });

  test("in slices of a few elements as well", async () => {
    await withScratch(async (scratch) => {
      const out = join(scratch, "out");
      const loaded = await loadModel(folder);
      const plan = planExport(loaded, { budget: 40_000 });
      expect(plan.peakBytes).toBeLessThan(80_000);
      await executeTransfer(plan, out).finally(() => loaded.checkpoint.close());
      expect(await readAll(out)).toEqual(await readAll(folder));
    });
  });
});

test("floats of the config stay floats", async () => {
  await withScratch(async (scratch) => {
    const folder = join(root, "llama_rope3");
    const loaded = await loadModel(folder);
    await exportModel(loaded, join(scratch, "out")).finally(() => loaded.checkpoint.close());
    const text = await readFile(join(scratch, "out", "config.json"), "utf8");
    expect(text).toMatch(/"factor": 8\.0,/);
    expect(text).toMatch(/"rope_theta": 500000\.0,/);
  });
});

test("a signal ends it in the middle, and leaves neither the folder nor a part of it", async () => {
  await withScratch(async (scratch) => {
    const loaded = await loadModel("examples/checkpoints/seed");
    const controller = new AbortController();
    const heard: number[] = [];
    const run = executeTransfer(planExport(loaded), join(scratch, "out"), {
      signal: controller.signal,
      onProgress: (done) => {
        if (heard.push(done) === 2) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ name: "AbortError" });
    expect(readdirSync(scratch)).toEqual([]);
    await expect(exportModel(loaded, join(scratch, "out"), { signal: controller.signal })).rejects.toThrow(
      "call/aborted",
    );
    await exportModel(loaded, join(scratch, "out"));
    expect(readdirSync(scratch)).toEqual(["out"]);
    await loaded.checkpoint.close();
  });
});

test.each([
  ["exportModel", { overwrit: true }, "option/unknown: `executeTransfer` has no option `overwrit`"],
  ["exportModel", { maxShardBytes: 0.5 }, "`maxShardBytes` of `executeTransfer` is 0.5"],
  ["planExport", { dtype: "f64" }, '`dtype` of `planExport` is "f64", and has to be "f32" or "f16" or "bf16"'],
  ["planExport", { layout: 3 }, "`layout` of `planExport` is 3"],
  ["planExport", { budget: -1 }, "`budget` of `planExport` is -1"],
])("%s refuses %o", async (call, options, words) => {
  await withScratch(async (scratch) => {
    const loaded = await loadModel("tests/fixtures/families/llama");
    const out = join(scratch, "out");
    const run = async (): Promise<unknown> =>
      call === "planExport" ? planExport(loaded, options as never) : exportModel(loaded, out, options as never);
    await expect(run()).rejects.toThrow(words);
    expect(readdirSync(scratch)).toEqual([]);
    await loaded.checkpoint.close();
  });
});
