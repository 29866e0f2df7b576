/** Checkpoints of a training run: they load as the model that is trained does, and give back to the bit what a run goes on from. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { ELEMENTS } from "../../../runtime/checkpoint/element-type.ts";
import { fromFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { MASTERS_NAME, OPTIMIZER_NAME, writeTrainingCheckpoint } from "../../../runtime/training/checkpoint.ts";
import { checkTrainingFolder, lockTraining } from "../../../runtime/training/checkpoint-folder.ts";
import { checkSame, readTrainingCheckpoint } from "../../../runtime/training/resume.ts";
import { expectFailure, MEMORY, withScratch } from "../checkpoint/scratch.ts";
import { checkpointAt, countOf, recordOf, valuesAt } from "./checkpoint-case.ts";

const families = "tests/fixtures/families";
const seed = "examples/checkpoints/seed";

async function withRun<R>(
  base: string,
  use: (run: string, loaded: LoadedModel, scratch: string) => Promise<R>,
): Promise<R> {
  return withScratch(async (scratch) => {
    const loaded = await loadModel(base);
    try {
      return await use(join(scratch, "run"), loaded, scratch);
    } finally {
      await loaded.checkpoint.close();
    }
  }, MEMORY);
}

const refusing = async (action: () => unknown): Promise<unknown> => action();

describe.each([
  ["f32, tied", `${families}/cohere`, 5e9],
  ["f32, experts one by one", `${families}/mixtral`, 5e9],
  ["f32, matrices transposed", `${families}/gpt2`, 5e9],
  ["bf16, in shards", `${families}/mixtral_bf16_sharded`, 1e5],
  ["bf16, with a tokenizer", seed, 5e9],
])("%s", (_, base, maxShardBytes) => {
  test("the weights load as the family's checkpoint, and all of it comes back to the bit", () =>
    withRun(base, async (run, loaded) => {
      const { path, left } = await writeTrainingCheckpoint(run, checkpointAt(3, loaded, { maxShardBytes }));
      expect(path).toBe(join(run, "step-00000003"));
      expect(left).toEqual([]);
      const trained = await loadModel(path);
      expect([...trained.checkpoint.tensors].map(([name, t]) => [name, t.dtype, t.shape]).sort()).toEqual(
        [...loaded.checkpoint.tensors].map(([name, t]) => [name, t.dtype, t.shape]).sort(),
      );
      expect(trained.checkpoint.files.length > 1).toBe(maxShardBytes < 5e9);
      expect(trained.config.json).toMatchObject({ model_type: loaded.config.json["model_type"] });
      const stored = (await readTrainingCheckpoint(run))!;
      expect(stored.record).toMatchObject(recordOf(3));
      expect(stored.changed).toEqual([]);
      for (const { path: of } of loaded.model.parameters) {
        const wanted = valuesAt(3, of, countOf(loaded, of));
        expect(Buffer.compare(bytes(await stored.parameter(of)), bytes(wanted)), of).toBe(0);
        const { dtype } = ELEMENTS[loaded.source.storage(of)];
        const rounded = toFloat32(dtype, fromFloat32(dtype, wanted));
        const weights = toFloat32(dtype, await trained.source.read(of, 0, wanted.length));
        expect(Buffer.compare(bytes(weights), bytes(rounded)), of).toBe(0);
        const m = valuesAt(3, `m.${of}`, wanted.length);
        expect(Buffer.compare(bytes(await stored.state(`m.${of}`)), bytes(m)), of).toBe(0);
      }
      expect(stored.states.size).toBe(2 * loaded.model.parameters.length);
      await stored.close();
      await trained.checkpoint.close();
      const has = (name: string): boolean => existsSync(join(base, name));
      for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"].filter(has))
        expect(readFileSync(join(path, name))).toEqual(readFileSync(join(base, name)));
      if (has("tokenizer.json")) expect((await loadTokenizer(path)).encode("a b").length).toBeGreaterThan(0);
    }));
});

const bytes = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

const llama = `${families}/llama`;
const stepsIn = (run: string): readonly string[] => readdirSync(run).filter((name) => name.startsWith("step-"));

describe("the folder of a run", () => {
  test("keeps the last two steps, and what is not the run's", () =>
    withRun(llama, async (run, loaded) => {
      mkdirSync(join(run, "step-00000001-notes"), { recursive: true });
      mkdirSync(join(run, "step-00000000"));
      writeFileSync(join(run, "step-00000000/thesis.tex"), "precious");
      for (const step of [1, 2, 4, 9]) await writeTrainingCheckpoint(run, checkpointAt(step, loaded));
      expect(readdirSync(run).sort()).toEqual([
        "step-00000000",
        "step-00000001-notes",
        "step-00000004",
        "step-00000009",
      ]);
      expect(readFileSync(join(run, "step-00000000/thesis.tex"), "utf8")).toBe("precious");
    }));

  test("leaves an old step that somebody has put something into, and names it", () =>
    withRun(llama, async (run, loaded) => {
      const first = await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      writeFileSync(join(first.path, "why-i-keep-this.txt"), "the best so far");
      for (const step of [2, 3]) await writeTrainingCheckpoint(run, checkpointAt(step, loaded));
      const { left } = await writeTrainingCheckpoint(run, checkpointAt(4, loaded));
      expect(left).toEqual([first.path]);
      expect(stepsIn(run)).toEqual(["step-00000001", "step-00000003", "step-00000004"]);
      await (await loadModel(first.path)).checkpoint.close();
    }));

  test("needs the checkpoint that it began with for its first step alone", () =>
    withScratch(async (scratch) => {
      const base = join(scratch, "base");
      cpSync(llama, base, { recursive: true });
      cpSync(`${seed}/tokenizer.json`, join(base, "tokenizer.json"));
      const loaded = await loadModel(base);
      const run = join(scratch, "run");
      await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      await loaded.checkpoint.close();
      rmSync(base, { recursive: true });
      for (const step of [2, 3, 4]) await writeTrainingCheckpoint(run, checkpointAt(step, loaded));
      expect((await loadTokenizer(join(run, "step-00000004"))).encode("a b").length).toBeGreaterThan(0);
    }, MEMORY));

  test("takes the same step again, and none before the last", () =>
    withRun(llama, async (run, loaded) => {
      for (const step of [5, 5]) await writeTrainingCheckpoint(run, checkpointAt(step, loaded));
      await expectFailure(
        writeTrainingCheckpoint(run, checkpointAt(4, loaded)),
        "train/later-step",
        "step 5",
        "step 4",
      );
      expect(readdirSync(run)).toEqual(["step-00000005"]);
    }));

  test("is not one that holds a run, is a file, or lies in what is trained", () =>
    withRun(llama, async (run, loaded, scratch) => {
      checkTrainingFolder(run, loaded);
      const inside = join(loaded.checkpoint.path, "run");
      await expectFailure(
        refusing(() => checkTrainingFolder(inside, loaded)),
        "checkpoint/target-is-source",
        "lies in",
      );
      writeFileSync(join(scratch, "file"), "");
      const file = join(scratch, "file");
      await expectFailure(
        refusing(() => checkTrainingFolder(file, loaded)),
        "checkpoint/target-exists",
        "is a file",
      );
      await writeTrainingCheckpoint(run, checkpointAt(8, loaded));
      await expectFailure(
        refusing(() => checkTrainingFolder(run, loaded)),
        "checkpoint/target-exists",
        "step 8",
      );
    }));

  test("has one run at a time", () =>
    withScratch(async (scratch) => {
      const run = join(scratch, "run");
      const lock = lockTraining(run);
      await expectFailure(
        refusing(() => lockTraining(run)),
        "checkpoint/busy",
        run,
      );
      lock.release();
      lockTraining(run).release();
      expect(readdirSync(run)).toEqual([]);
    }, MEMORY));

  test("that is not there, or has no step, holds no run", () =>
    withScratch(async (scratch) => {
      expect(await readTrainingCheckpoint(join(scratch, "none"))).toBe(null);
      expect(await readTrainingCheckpoint(scratch)).toBe(null);
    }));
});

describe("is refused, and the last good step is still there:", () => {
  test.each<[string, string, string, (loaded: LoadedModel) => Parameters<typeof checkpointAt>[2]]>([
    [
      "a parameter that is no number",
      "train/not-finite",
      "parameter `norm.w` is NaN or infinite after step 2: element 3 is NaN",
      (loaded) => ({
        parameter: (path) =>
          valuesAt(2, path, countOf(loaded, path)).map((x, i) => (path === "norm.w" && i === 3 ? NaN : x)),
      }),
    ],
    [
      "a state that is no number",
      "train/not-finite",
      "`v` of `norm.w` is NaN or infinite",
      (loaded) => ({
        states: [
          { state: "v", path: "norm.w", read: () => new Float32Array(countOf(loaded, "norm.w")).fill(Infinity) },
        ],
      }),
    ],
  ])("%s", (_, code, words, more) =>
    withRun(llama, async (run, loaded) => {
      await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      await expectFailure(writeTrainingCheckpoint(run, checkpointAt(2, loaded, more(loaded))), code, words);
      expect(readdirSync(run)).toEqual(["step-00000001"]);
      await (await readTrainingCheckpoint(run))!.close();
    }),
  );

  test("a weight that its type cannot hold", () =>
    withRun(`${families}/mixtral_bf16_sharded`, async (run, loaded) => {
      const more = { parameter: (path: string) => new Float32Array(countOf(loaded, path)).fill(3.4e38) };
      const written = writeTrainingCheckpoint(run, checkpointAt(2, loaded, more));
      await expectFailure(written, "checkpoint/overflow", "bf16 cannot hold", "moec export");
      expect(readdirSync(run)).toEqual([]);
    }));
});

describe("what is read back", () => {
  test.each<[string, (path: string) => void, string]>([
    ["a record that is no JSON", (path) => writeFileSync(join(path, "train.json"), "{"), "is not JSON"],
    ["a record without a step", (path) => edit(path, { step: -1 }), "`step` of"],
    ["a record of another format", (path) => edit(path, { format: "moec.train/9" }), "`format` of"],
    [
      "accumulators that are no numbers",
      (path) => edit(path, { accumulators: { "a.b": ["x"] } }),
      "`accumulators.a.b[0]`",
    ],
    ["masters that are gone", (path) => rmSync(join(path, MASTERS_NAME)), "does not hold"],
    [
      "masters of something else",
      (path) => writeFileSync(join(path, MASTERS_NAME), readFileSync(join(path, OPTIMIZER_NAME))),
      "does not hold",
    ],
  ])("%s is refused", (_, damage, words) =>
    withRun(`${families}/mixtral_bf16_sharded`, async (run, loaded) => {
      const { path } = await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      damage(path);
      await expectFailure(readTrainingCheckpoint(run), "train/bad-record", words, "earlier checkpoint");
    }),
  );

  const edit = (path: string, change: object): void => {
    const file = join(path, "train.json");
    const record = JSON.parse(readFileSync(file, "utf8")) as object;
    writeFileSync(file, JSON.stringify({ ...record, ...change }));
  };

  test("goes on with the same plan and adapter, and else when that is accepted", () =>
    withRun(llama, async (run, loaded) => {
      await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      const stored = (await readTrainingCheckpoint(run))!;
      const { plan, adapter } = recordOf(1);
      expect(checkSame(stored, { plan, adapter })).toEqual([]);
      const check = (now: { plan: string; adapter: string }): Promise<unknown> =>
        refusing(() => checkSame(stored, now));
      await expectFailure(check({ plan: "b", adapter }), "train/changed", "the plan that trains", "--accept-changed");
      await expectFailure(check({ plan, adapter: "H200" }), "train/changed", "`llvmpipe, vulkan`", "`H200`");
      expect(checkSame(stored, { plan: "b", adapter: "H200" }, true)).toHaveLength(2);
      await stored.close();
    }));

  test("tells files that somebody has changed", () =>
    withRun(llama, async (run, loaded) => {
      const { path } = await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
      const file = join(path, OPTIMIZER_NAME);
      // The system's clock for files ticks slowly.
      await setTimeout(30);
      const content = readFileSync(file);
      content[content.length - 1]! ^= 1;
      writeFileSync(file, content);
      writeFileSync(join(path, "notes.txt"), "mine");
      const stored = (await readTrainingCheckpoint(run))!;
      expect(stored.changed).toEqual([OPTIMIZER_NAME]);
      const { plan, adapter } = recordOf(1);
      await expectFailure(
        refusing(() => checkSame(stored, { plan, adapter })),
        "train/changed",
        OPTIMIZER_NAME,
      );
      await stored.close();
    }));
});
