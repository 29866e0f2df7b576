/** Gradients as a checkpoint has its parameters: each element goes back to where its parameter came from, whatever the layout. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { layOutGradients } from "../../../runtime/training/gradient-tensors.ts";
import { configOf, tensorsOf, writeModel } from "../../support/made-checkpoint.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const families = "tests/fixtures/families";

const withModel = async <R>(folder: string, use: (loaded: LoadedModel) => Promise<R> | R): Promise<R> => {
  const loaded = await loadModel(folder);
  try {
    return await use(loaded);
  } finally {
    await loaded.checkpoint.close();
  }
};

/** A number of its own for every element of every parameter. */
function numbered({ model }: LoadedModel): ReadonlyMap<string, Float32Array> {
  let next = 0;
  return new Map(
    model.parameters.map(({ path, axes }) => [
      path,
      Float32Array.from({ length: axes.reduce((n, axis) => n * axis.size, 1) }, () => ++next),
    ]),
  );
}

test.each(readdirSync(families))("%s: what is laid out is read back as it was", (name) =>
  withModel(join(families, name), (loaded) =>
    withScratch(async (scratch) => {
      const gradients = numbered(loaded);
      const { tensors, without } = layOutGradients(loaded.checkpoint, loaded.entries, gradients);
      expect(without).toEqual([]);
      const stored = loaded.checkpoint.tensors;
      for (const { name: tensor, shape } of tensors) expect(shape, tensor).toEqual(stored.get(tensor)!.shape);
      const made = tensors.map((tensor) => ({
        ...tensor,
        dtype: "F32" as const,
        bytes: new Uint8Array(tensor.values.buffer),
      }));
      await writeModel(scratch, configOf(name), made);
      await withModel(scratch, async ({ source }) => {
        for (const [path, gradient] of gradients) {
          const bytes = await source.read(path, 0, gradient.length);
          expect(Buffer.compare(bytes, Buffer.from(gradient.buffer)), path).toBe(0);
        }
      });
    }),
  ),
);

describe("what a parameter without a gradient leaves", () => {
  test("is zeros in a tensor of several, and no tensor of its own", () =>
    withModel(join(families, "mixtral_fused"), (loaded) => {
      const gradients = new Map(numbered(loaded));
      gradients.delete("norm.w");
      gradients.delete("blocks[0].ffn.experts.gate.w");
      const { tensors, without } = layOutGradients(loaded.checkpoint, loaded.entries, gradients);
      expect(without).toEqual(["model.norm.weight"]);
      const both = tensors.find(({ name }) => name === "model.layers.0.mlp.experts.gate_up_proj")!;
      const [experts, rows, width] = both.shape as [number, number, number];
      const isZero = (row: number): boolean =>
        both.values.subarray(row * width, (row + 1) * width).every((x) => x === 0);
      for (let row = 0; row < experts * rows; row++) expect(isZero(row), `row ${row}`).toBe(row % rows < rows / 2);
    }));
});

test("tensors that stand behind a prefix keep their names", () =>
  withScratch(async (scratch) => {
    const tensors = (await tensorsOf("llama")).map((tensor) => ({ ...tensor, name: `language_model.${tensor.name}` }));
    await writeModel(scratch, configOf("llama"), tensors);
    await withModel(scratch, (loaded) => {
      const laid = layOutGradients(loaded.checkpoint, loaded.entries, numbered(loaded)).tensors;
      expect(laid.map(({ name }) => name).sort()).toEqual(tensors.map(({ name }) => name).sort());
    });
  }));

test("blocks with scales are refused by name, with what to do", () =>
  withModel(join(families, "llama"), async (loaded) => {
    const stored = { encoding: "fp8", parts: [] } as const;
    const entries = loaded.entries.map((entry, i) => (i === 3 ? { ...entry, stored } : entry));
    const lay = async (): Promise<unknown> => layOutGradients(loaded.checkpoint, entries, numbered(loaded));
    await expectFailure(lay(), "train/encoded", `\`${entries[3]!.tensor}\``, "stored as fp8", "moec export");
  }));
