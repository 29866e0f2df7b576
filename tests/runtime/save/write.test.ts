import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import type { TensorSpec } from "../../../runtime/checkpoint/safetensors-header.ts";
import type { Checkpoint } from "../../../runtime/checkpoint/store.ts";
import { createCheckpoint, type WriterOptions } from "../../../runtime/save/write.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const tensors: TensorSpec[] = [
  { name: "flags", dtype: "U8", shape: [3] },
  { name: "wide", dtype: "F64", shape: [2] },
  { name: "empty", dtype: "F32", shape: [0, 4] },
  { name: "half", dtype: "BF16", shape: [2, 2] },
];
const bytesOf = (name: string, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => name.charCodeAt(0) + i);

/** Writes the four tensors, the pieces of `half` in two. */
async function writeAll(target: string, options?: WriterOptions): Promise<void> {
  const writer = await createCheckpoint(target, tensors, options);
  await Promise.all([
    writer.write("half", bytesOf("half", 8).subarray(0, 3)),
    writer.write("wide", bytesOf("wide", 16)),
    writer.write("half", bytesOf("half", 8).subarray(3)),
    writer.write("flags", bytesOf("flags", 3)),
  ]);
  await writer.addFile("config.json", '{"model_type":"test"}');
  await writer.commit();
}

async function expectAll(checkpoint: Checkpoint): Promise<void> {
  expect([...checkpoint.tensors.keys()].sort()).toEqual(["empty", "flags", "half", "wide"]);
  for (const { name, dtype, shape } of tensors) {
    const tensor = checkpoint.tensors.get(name)!;
    expect(tensor).toMatchObject({ dtype, shape });
    expect(await checkpoint.readTensor(name)).toEqual(bytesOf(name, tensor.bytes));
  }
}

describe("what is written", () => {
  test("is read back the same, each tensor aligned to its width", async () => {
    await withScratch(async (directory) => {
      const target = join(directory, "new", "model");
      await writeAll(target, { metadata: { made_by: "a test" } });
      const checkpoint = await openCheckpoint(target);
      await expectAll(checkpoint);
      expect(checkpoint.config).toEqual({ model_type: "test" });
      expect(checkpoint.tensors.get("wide")!.offset % 8).toBe(0);
      expect(checkpoint.tensors.get("half")!.offset % 2).toBe(0);
      await checkpoint.close();
      const header = (await readFile(join(target, "model.safetensors"))).toString("latin1");
      expect(header).toContain('"__metadata__":{"format":"pt","made_by":"a test"}');
      expect(await readdir(join(directory, "new"))).toEqual(["model"]);
    });
  });

  test("has hashes, tensor by tensor as they are finished", async () => {
    await withScratch(async (directory) => {
      const writer = await createCheckpoint(join(directory, "model"), tensors);
      await writer.write("half", bytesOf("half", 8).subarray(0, 3));
      await writer.write("half", bytesOf("half", 8).subarray(3));
      await writer.finish("half");
      await writer.finish("empty");
      const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
      expect([...writer.done]).toEqual([
        ["half", hash(bytesOf("half", 8))],
        ["empty", hash(new Uint8Array(0))],
      ]);
      await writer.abort();
    });
  });

  test("is split into shards of the size asked for, with the index of transformers", async () => {
    await withScratch(async (directory) => {
      const target = join(directory, "model");
      await writeAll(target, { maxShardBytes: 10 });
      // flags (3) | wide (16, above the limit) and no more | empty, half (8)
      const shards = [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`);
      expect((await readdir(target)).sort()).toEqual([
        "config.json",
        ...shards,
        "model.safetensors.index.json",
        "moec.manifest.json",
      ]);
      expect(JSON.parse(await readFile(join(target, "model.safetensors.index.json"), "utf8"))).toEqual({
        metadata: { total_size: 27 },
        weight_map: { empty: shards[2], flags: shards[0], half: shards[2], wide: shards[1] },
      });
      const checkpoint = await openCheckpoint(target);
      await expectAll(checkpoint);
      await checkpoint.close();
    });
  });

  test("of a real checkpoint is that checkpoint, byte for byte per tensor, with its tokenizer", async () => {
    await withScratch(async (directory) => {
      const source = "examples/checkpoints/seed";
      const from = await openCheckpoint(source);
      const writer = await createCheckpoint(join(directory, "copy"), [...from.tensors.values()]);
      for (const name of from.tensors.keys()) await writer.write(name, await from.readTensor(name));
      expect(await writer.copyTokenizer(source)).toEqual(["tokenizer.json", "tokenizer_config.json"]);
      await writer.commit();
      const to = await openCheckpoint(join(directory, "copy"));
      expect(new Set(to.tensors.keys())).toEqual(new Set(from.tensors.keys()));
      for (const name of from.tensors.keys()) {
        expect(Buffer.compare(await to.readTensor(name), await from.readTensor(name))).toBe(0);
      }
      await from.close();
      await to.close();
    });
  });
});

describe("nothing shows under the final name", () => {
  test("before commit, and nothing at all is left after abort", async () => {
    await withScratch(async (directory) => {
      const target = join(directory, "model");
      const writer = await createCheckpoint(target, tensors);
      await writer.write("wide", bytesOf("wide", 16));
      await expect(stat(target)).rejects.toThrow("ENOENT");
      await writer.abort();
      expect(await readdir(directory)).toEqual([]);
    });
  });

  test("when a tensor lacks bytes or is given too many", async () => {
    await withScratch(async (directory) => {
      const writer = await createCheckpoint(join(directory, "model"), tensors);
      await expect(writer.write("flags", new Uint8Array(4))).rejects.toThrow("`flags` has 3 bytes, was given 4");
      await expect(writer.write("other", new Uint8Array(1))).rejects.toThrow("`other`");
      await expect(writer.commit()).rejects.toThrow("bytes");
      await writer.abort();
      expect(await readdir(directory)).toEqual([]);
    });
  });

  test.each(["SIGINT", "SIGTERM", "exit"])("when %s ends the process half-way", async (end) => {
    await withScratch(async (directory) => {
      const script = `
        import { createCheckpoint } from ${JSON.stringify(resolve("runtime/save/write.ts"))};
        const tensor = { name: "a", dtype: "U8", shape: [8] };
        const writer = await createCheckpoint(${JSON.stringify(join(directory, "model"))}, [tensor]);
        await writer.write("a", new Uint8Array(4));
        console.log("half-way");
        ${end === "exit" ? "process.exit(3)" : "setInterval(() => {}, 1000)"};`;
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise<unknown>((done) => child.on("exit", (code, signal) => done(signal ?? code)));
      await new Promise((ready) => child.stdout.once("data", ready));
      if (end !== "exit") child.kill(end as NodeJS.Signals);
      // A process that outlives its signal would outlive the test as well.
      const guard = setTimeout(() => child.kill("SIGKILL"), 3000);
      expect(await ended).toBe(end === "exit" ? 3 : end);
      clearTimeout(guard);
      expect(await readdir(directory)).toEqual([]);
    });
  });

  test("when the disk cannot hold it", async () => {
    await withScratch(async (directory) => {
      const huge: TensorSpec = { name: "huge", dtype: "F32", shape: [2 ** 50] };
      await expectFailure(createCheckpoint(join(directory, "model"), [huge]), "checkpoint/disk-full", "model");
      expect(await readdir(directory)).toEqual([]);
    });
  });
});

describe("an existing target", () => {
  test("is refused, and replaced as a whole when that is allowed", async () => {
    await withScratch(async (directory) => {
      const target = join(directory, "model");
      await writeAll(target, { maxShardBytes: 10 });
      await expectFailure(createCheckpoint(target, tensors), "checkpoint/target-exists", target);
      await writeAll(target, { overwrite: true });
      expect((await readdir(target)).sort()).toEqual(["config.json", "model.safetensors", "moec.manifest.json"]);
      expect(await readdir(directory)).toEqual(["model"]);
    });
  });

  test("is never replaced when it is not a checkpoint", async () => {
    await withScratch(async (directory) => {
      await writeFile(join(directory, "file"), "precious");
      await mkdir(join(directory, "home"));
      await writeFile(join(directory, "home", "thesis.tex"), "precious");
      for (const name of ["file", "home"]) {
        const attempt = createCheckpoint(join(directory, name), tensors, { overwrite: true });
        await expectFailure(attempt, "checkpoint/target-exists", name);
      }
    });
  });

  test("that appears while the writer is at work is not replaced", async () => {
    await withScratch(async (directory) => {
      const target = join(directory, "model");
      const writer = await createCheckpoint(target, []);
      await expectFailure(createCheckpoint(target, []), "checkpoint/busy", target);
      await writeAll(join(directory, "other"));
      await rename(join(directory, "other"), target);
      await expectFailure(writer.commit(), "checkpoint/target-exists", target);
      await writer.abort();
      const checkpoint = await openCheckpoint(target);
      await expectAll(checkpoint);
      await checkpoint.close();
    });
  });
});
