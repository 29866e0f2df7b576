/** Runs of training: what they report, what they leave, and that going on gives the bits of a run that never stopped. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { openTraining, type TrainingEvent } from "../../../runtime/training/train.ts";
import type { TrainOptions } from "../../../runtime/training/train-options.ts";
import { withScratch } from "../checkpoint/scratch.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const family = `${import.meta.dirname}/../../fixtures/families/mixtral`;

async function run(
  folder: string,
  more: Partial<TrainOptions> = {},
  stopAfter = Infinity,
  tokenizer: string | null = null,
): Promise<readonly TrainingEvent[]> {
  const ids = Uint16Array.from({ length: 600 }, (_, i) => (i % 61 === 0 ? 0 : 1 + ((i * i + 3 * i) % 90)));
  writeFileSync(join(folder, "ids.bin"), new Uint8Array(ids.buffer));
  const loaded = await loadModel(family);
  const events: TrainingEvent[] = [];
  try {
    const training = await openTraining({
      device,
      loaded,
      out: join(folder, "run"),
      data: {
        sources: [
          { name: "ids", kind: "tokens", paths: [join(folder, "ids.bin")], weight: null, field: "text", fim: null },
        ],
        tokenizer,
        heldOut: { tokens: 64 },
      },
      steps: 4,
      context: 16,
      batch: 4,
      together: 2,
      seed: 7,
      rate: 1e-2,
      evaluateEvery: 2,
      evaluateSequences: 4,
      checkpointEvery: 2,
      loadsEvery: 1,
      ...more,
    });
    try {
      for await (const event of training.events()) {
        events.push(event);
        if (event.kind === "checkpoint" && event.step >= stopAfter) break;
      }
    } finally {
      await training.close();
    }
  } finally {
    await loaded.checkpoint.close();
  }
  return events;
}

const weightsOf = (folder: string, step: string): readonly Buffer[] =>
  ["model.safetensors", "optimizer.safetensors"].map((file) => readFileSync(join(folder, "run", step, file)));

/** A tokenizer of words `w0`, `w1` and so on. */
const words = (count: number): object => ({
  added_tokens: [],
  normalizer: null,
  post_processor: null,
  pre_tokenizer: { type: "WhitespaceSplit" },
  decoder: null,
  model: {
    type: "WordLevel",
    vocab: Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, i])),
    unk_token: "w0",
  },
});

describe("a run", () => {
  test("tells of steps, held-out text and experts, learns, and goes on from a checkpoint to the same bits", async () => {
    await withScratch(async (whole) => {
      const events = await run(whole);
      expect(events.map((e) => `${e.kind} ${e.step}`)).toEqual([
        ...["run 0", "evaluation 0", "step 1", "load 1", "step 2", "load 2", "evaluation 2", "checkpoint 2"],
        ...["step 3", "load 3", "step 4", "load 4", "evaluation 4", "checkpoint 4"],
      ]);
      const costs = events.flatMap((e) => (e.kind === "evaluation" ? [e.domains[0]!.nll!] : []));
      expect(costs[2]!).toBeLessThan(costs[0]!);
      const steps = events.flatMap((e) => (e.kind === "step" ? [e] : []));
      expect(steps.map((s) => s.total)).toEqual([64, 128, 192, 256]);
      // As the library's schedule has it, of which a twentieth is a warm-up.
      expect(steps[0]!.rate).toBeGreaterThan(steps[3]!.rate!);
      expect(steps[3]!.rate).toBeCloseTo(1e-3, 6);
      const loads = events.flatMap((e) => (e.kind === "load" ? [e] : []));
      // Two experts for each token of each layer.
      for (const { layers } of loads)
        for (const { load } of layers) expect(load.reduce((a, b) => a + b, 0)).toBeCloseTo(2 * 64, 3);
      expect(readdirSync(join(whole, "run")).sort()).toContain("step-00000004");
      await withScratch(async (broken) => {
        await run(broken, {}, 2);
        const rest = await run(broken, { resume: true });
        expect(rest.map((e) => `${e.kind} ${e.step}`)).toEqual([
          ...["run 2", "step 3", "load 3", "step 4", "load 4", "evaluation 4", "checkpoint 4"],
        ]);
        expect(weightsOf(broken, "step-00000004")).toEqual(weightsOf(whole, "step-00000004"));
      });
    });
  });

  test("shows what it writes each time that it measures", async () => {
    await withScratch(async (folder) => {
      const samples = { prompts: ["w3 w5 w8", "w1"], tokens: 5 };
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(words(96)));
      const events = await run(folder, { steps: 2, samples }, Infinity, folder);
      const written = events.flatMap((e) => (e.kind === "sample" ? [e] : []));
      expect(written.map((e) => [e.step, e.texts.map((t) => t.prompt)])).toEqual([
        [0, samples.prompts],
        [2, samples.prompts],
      ]);
      for (const { texts } of written) for (const { text } of texts) expect(text.trim().split(" ")).toHaveLength(5);
    });
  });

  test("its micro-batches are of one size", async () => {
    await withScratch(async (folder) => {
      await expect(run(folder, { together: 3 })).rejects.toThrow("train/uneven-batch");
    });
  });
});
