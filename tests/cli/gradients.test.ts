/** `moec run --gradients`: the loss of a micro-batch, its terms and all gradients, as transformers computes them. */
import { existsSync, mkdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Checkpoint } from "../../runtime/checkpoint/store.ts";
import { openCheckpoint } from "../../runtime/load/open-checkpoint.ts";
import { COEFFICIENT, goldenFile, readGradients, writeTrained } from "../support/training.ts";
import { anonymous, moec, temporary, writeFile } from "./support.ts";

const families = "tests/fixtures/families";

/** Of Euclidean norms, tensor by tensor. */
const TOLERANCE = 1e-4;

function offBy(found: ArrayLike<number>, golden: ArrayLike<number>): number {
  expect(found.length).toBe(golden.length);
  let [off, all] = [0, 0];
  for (let i = 0; i < golden.length; i++) {
    off += (found[i]! - golden[i]!) ** 2;
    all += golden[i]! ** 2;
  }
  return Math.sqrt(off / all);
}

async function withFile<R>(path: string, use: (file: Checkpoint) => Promise<R>): Promise<R> {
  const file = await openCheckpoint(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

const goldenIds = (golden: Checkpoint): Promise<number[][]> =>
  golden.toFloat32("ids").then((ids) => {
    const [count, length] = golden.tensors.get("ids")!.shape as [number, number];
    return Array.from({ length: count }, (_, i) => [...ids.subarray(i * length, (i + 1) * length)]);
  });

test.each(["llama", "cohere", "olmoe", "mixtral", "qwen3_moe", "granitemoe"])(
  "%s: loss, auxiliary loss and every gradient are the golden ones",
  (name) =>
    withFile(goldenFile(name), async (golden) => {
      const folder = temporary(name);
      mkdirSync(folder);
      const config = await writeTrained(name, folder);
      const ids = writeFile(`${name}.json`, JSON.stringify(await goldenIds(golden)));
      const out = temporary(`${name}.safetensors`);
      const run = await moec("run", folder, "--ids", ids, "--gradients", out, "--json");
      expect(run.err).toBe("");
      const told = JSON.parse(run.out) as { loss: number; terms: Readonly<Record<string, number>>; without: unknown };
      await withFile(out, async (found) => {
        const number = async (file: Checkpoint, tensor: string): Promise<number> => (await file.toFloat32(tensor))[0]!;
        expect(found.tensors.get("loss")).toMatchObject({ dtype: "F32", shape: [] });
        const loss = await number(found, "loss");
        expect(Math.abs(loss / (await number(golden, "loss")) - 1)).toBeLessThan(1e-6);
        expect(told).toMatchObject({ loss, without: [] });
        const terms = [...found.tensors.keys()].filter((tensor) => tensor.includes("loss") && tensor !== "loss");
        expect(Object.keys(told.terms)).toEqual(terms);
        if (golden.tensors.has("aux_loss")) {
          expect(terms).toHaveLength(1);
          const auxiliary = (await number(found, terms[0]!)) / COEFFICIENT;
          expect(Math.abs(auxiliary / (await number(golden, "aux_loss")) - 1)).toBeLessThan(1e-5);
        }
        const [own, expected] = [await readGradients(found, config), await readGradients(golden, config)];
        expect(own.size).toBe(expected.size);
        expect(own.size).toBeGreaterThan(10);
        for (const [path, { axes, data }] of expected) {
          expect(own.get(path)!.axes, path).toEqual(axes);
          expect(offBy(own.get(path)!.data, data), path).toBeLessThan(TOLERANCE);
        }
        await compareNames(found, golden);
      });
    }),
);

/** Names and layouts are the checkpoint's: those that are also transformers' own in memory hold the same, and experts their part of all. */
async function compareNames(found: Checkpoint, golden: Checkpoint): Promise<void> {
  const names = [...found.tensors.keys()].filter((tensor) => tensor.startsWith("grad."));
  const same = names.filter((tensor) => golden.tensors.has(tensor));
  expect(same.length).toBeGreaterThan(10);
  for (const tensor of same) {
    expect(found.tensors.get(tensor)!.shape).toEqual(golden.tensors.get(tensor)!.shape);
    expect(offBy(await found.toFloat32(tensor), await golden.toFloat32(tensor)), tensor).toBeLessThan(TOLERANCE);
  }
  for (const tensor of names) {
    const expert = /^(.*\.experts)\.(\d+)\.(gate_proj|w1)\.weight$/.exec(tensor);
    if (expert === null) continue;
    const all = golden.tensors.get(`${expert[1]!.replace("block_sparse_moe", "mlp")}.gate_up_proj`)!;
    const [, rows, width] = all.shape as [number, number, number];
    // Of each expert the gate's rows, then as many of the other projection.
    const start = Number(expert[2]) * rows * width;
    const part = (await golden.toFloat32(all.name)).subarray(start, start + (rows / 2) * width);
    expect(offBy(await found.toFloat32(tensor), part), tensor).toBeLessThan(TOLERANCE);
  }
}

describe("what cannot be done is refused, and nothing is written", () => {
  const llama = `${families}/llama`;

  test.each([
    ["neither logits nor gradients", [], "[[1, 2]]", "nothing is asked for"],
    ["both", ["--logits", "x.safetensors", "--gradients", "OUT"], "[[1, 2]]", "cannot be used with"],
    ["one token", ["--gradients", "OUT"], "[[1], [2]]", "predicts nothing"],
    ["ids out of range", ["--gradients", "OUT"], "[[1, 2], [3, 96]]", "id 1 of sequence 1 is 96"],
    ["too many tokens", ["--gradients", "OUT"], JSON.stringify([Array(5000).fill(1)]), "are more than the"],
  ])("%s", async (name, flags, text, words) => {
    const out = temporary(`${name}.safetensors`);
    const given = flags.map((flag) => (flag === "OUT" ? out : flag));
    const run = await moec("run", llama, "--ids", writeFile("wrong.json", text), ...given);
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(anonymous(run.err)).toContain(words);
    expect(existsSync(out)).toBe(false);
  });
});
