/** Import and export together change nothing. */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { toJson } from "../../compiler/index.ts";
import { openCheckpoint } from "../../runtime/checkpoint/index.ts";
import { readConfigFile } from "../../runtime/config-file.ts";
import { exportModel, planExport } from "../../runtime/export.ts";
import { loadModel } from "../../runtime/model.ts";
import { executeTransfer } from "../../runtime/upcycle/execute.ts";
import { withScratch } from "./checkpoint/scratch.ts";

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
      const [before, after] = await Promise.all([folder, out].map(readConfigFile));
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
