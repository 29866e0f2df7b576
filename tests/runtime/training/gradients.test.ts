/** Gradients from a device: what is refused before anything runs, and numbers that are none. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ParameterSource } from "../../../runtime/gpu/parameters.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { gradientsOf } from "../../../runtime/training/gradients.ts";
import { watchBuffers } from "../../support/left-open.ts";
import { modelOf } from "../../support/programs.ts";
import { expectFailure } from "../checkpoint/scratch.ts";

let device: Device;
let loaded: LoadedModel;
/** One with a table of positions. */
let tabled: LoadedModel;
beforeAll(async () => {
  device = await openDevice();
  loaded = await loadModel("tests/fixtures/families/llama");
  tabled = await loadModel("tests/fixtures/families/gpt2");
});
afterAll(async () => {
  await loaded.checkpoint.close();
  await tabled.checkpoint.close();
  device.close();
});

const batch = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
];

describe("is refused:", () => {
  test.each<[string, number[][], string, string]>([
    ["no sequence", [], "train/bad-batch", "no sequence"],
    ["one token", [[1]], "train/bad-batch", "predicts nothing"],
    [
      "sequences of two lengths",
      [
        [1, 2, 3],
        [1, 2],
      ],
      "train/bad-batch",
      "sequence 1 has 2 tokens, and sequence 0 has 3",
    ],
    ["more tokens than positions", [Array.from({ length: 3000 }, () => 1)], "train/bad-batch", "a table of"],
    [
      "an id of another vocabulary",
      [
        [1, 2],
        [3, 1e5],
      ],
      "session/token-range",
      "id 1 of sequence 1 is 100000",
    ],
    ["half an id", [[1, 0.5]], "session/token-range", "is 0.5"],
  ])("%s", (_, sequences, code, words) => expectFailure(gradientsOf(device, tabled, sequences), code, words));

  test("a model whose results are no logits", async () => {
    const model = modelOf(
      `
import { Embedding, Linear } from "std"
model Pooled(V, D) {
  embed = Embedding(V -> D)
  head = Linear(D -> V)
  forward(ids: u32[T]) -> f32[V] = mean[T](head(embed(ids)))
}
config tiny: Pooled { V: 5  D: 4 }`,
    );
    await expectFailure(gradientsOf(device, { model, source: loaded.source }, [[1, 2]]), "train/no-loss", "`Pooled`");
  });
});

test("a loss that is no number is told as such, and gives no gradients", async () => {
  const large: ParameterSource = {
    storage: () => "f32",
    read: async (path, start, length) => {
      const values = new Float32Array((await loaded.source.read(path, start, length)).buffer);
      return new Uint8Array(path === "norm.w" ? values.fill(3e38).buffer : values.buffer);
    },
  };
  const found = gradientsOf(device, { model: loaded.model, source: large }, batch);
  await expectFailure(found, "train/not-finite", "the loss of", "--trace-finite");
});

test("nothing stays on the device", async () => {
  using watched = watchBuffers(device);
  const { gradients } = await gradientsOf(device, loaded, batch);
  expect(gradients.size).toBe(loaded.model.parameters.length);
  expect([...watched.alive].map((buffer) => buffer.label)).toEqual([]);
});
