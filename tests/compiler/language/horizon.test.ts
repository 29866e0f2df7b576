/** How long sequences may be follows from what a model is made of, whatever its config calls it. */
import { describe, expect, test } from "vitest";
import { horizonOf, type Json } from "../../../compiler/index.ts";
import { openModel } from "../../../runtime/open.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { configOf, familyFolder } from "../../support/made-checkpoint.ts";
import { modelOfConfig } from "../../support/random-models.ts";
import { expectFailure } from "../../runtime/checkpoint/scratch.ts";

const horizon = (family: string, more: Readonly<Record<string, Json>> = {}) =>
  horizonOf(modelOfConfig({ ...configOf(family), ...more }));
const soft = (tokens: number) => ({ tokens, isHard: false });

describe("the horizon of a model", () => {
  test("is the table of its positions where it has one", () => {
    expect(horizon("gpt2", { n_positions: 96 })).toEqual({ tokens: 96, isHard: true });
  });

  test.each([
    ["llama", "max_position_embeddings"],
    ["dbrx", "max_seq_len"],
    ["deepseek_v3", "max_position_embeddings"],
    ["llama4_text", "max_position_embeddings"],
  ])("of %s is `%s`", (family, key) => expect(horizon(family, { [key]: 77 })).toEqual(soft(77)));

  test.each<[string, Readonly<Record<string, Json>>, number]>([
    ["yarn, of the first training's length", { type: "yarn", factor: 4, original_max_position_embeddings: 64 }, 256],
    ["yarn that the length has in it", { type: "yarn", factor: 2, original_max_position_embeddings: 64 }, 128],
    ["yarn, without it", { type: "yarn", factor: 4 }, 512],
    ["dynamic", { type: "dynamic", factor: 2.5 }, 320],
    ["linear", { type: "linear", factor: 2 }, 256],
    [
      "llama3, whose length is the longer one",
      { type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 },
      128,
    ],
    ["longrope", { type: "longrope", long_factor: [1, 1, 1, 1], short_factor: [1, 1, 1, 1] }, 128],
  ])("of scaled positions is what the scaling reaches: %s", (_, rope_scaling, tokens) => {
    expect(horizon("llama", { rope_scaling })).toEqual(soft(tokens));
  });
});

test("a session is not opened for more positions than the model's table has", async () => {
  const loaded = await loadModel(familyFolder("gpt2"));
  try {
    await expectFailure(openModel(loaded, { capacity: 129 }), "session/positions", "128", "129");
    const session = await openModel(loaded);
    expect(session.capacity).toBe(128);
    session.close();
  } finally {
    await loaded.checkpoint.close();
  }
});
