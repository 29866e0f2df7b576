/** Optimizer steps on the GPU: three of AdamW leave the parameters where torch leaves them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileTraining, type Optimizing } from "../compiler/compile-training.ts";
import type { Model } from "../compiler/language/model/model.ts";
import { groupParameters } from "../compiler/training/groups.ts";
import { readSettings } from "../compiler/training/settings.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { openCheckpoint } from "../runtime/load/open-checkpoint.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { uploadParameters } from "../runtime/gpu/parameters.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { Trainer } from "../runtime/training/trainer.ts";
import { withScratch } from "./runtime/checkpoint/scratch.ts";
import { goldenFile, readGradients, writeTrained } from "./support/training.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

/** AdamW as the golden values were made. */
function optimizing(model: Model): Optimizing {
  const settings = readSettings(openWorkspace(), { optimizer: "AdamW(decay: 0.1)", rate: "1e-2" });
  return { ...groupParameters(model, settings), clip: 1 };
}

test.each(["llama", "cohere", "mixtral", "qwen3_moe", "granitemoe", "olmoe"])("%s", async (family) => {
  await withScratch(async (folder) => {
    const config = await writeTrained(family, folder);
    const golden = await openCheckpoint(goldenFile(family));
    const wanted = await readGradients(golden, config, "after3.");
    const losses = await golden.toFloat32("losses");
    const loaded = await loadModel(folder);
    const [sequences, tokens] = golden.tensors.get("ids")!.shape as [number, number];
    const { plan, trained } = compileTraining(loaded.model, {
      device: device.facts,
      sequences,
      trains: () => true,
      optimizing: optimizing(loaded.model),
      verify: true,
    });
    expect(new Set(trained)).toEqual(new Set(loaded.model.parameters.map((p) => p.path)));
    const trainer = await Trainer.open(device, plan, await uploadParameters(device, plan, loaded.source), {
      sequences,
      tokens,
    });
    try {
      const ids = Uint32Array.from(await golden.toFloat32("ids"));
      const isLast = (i: number): boolean => i % tokens === tokens - 1;
      const batch = {
        ids,
        target: ids.map((_, i) => (isLast(i) ? 0 : ids[i + 1]!)),
        counted: Float32Array.from(ids, (_, i) => Number(!isLast(i))),
      };
      for (let step = 1; step <= 3; step++) {
        trainer.begin({ step, steps: 3, tokens: sequences * (tokens - 1), micro: 1, drawn: 0 });
        await trainer.micro(batch);
        const { loss, applied } = await (await trainer.update())();
        expect(applied).toBe(true);
        expect(loss).toBeCloseTo(losses[step - 1]!, 4);
      }
      for (const [path, { data }] of wanted) {
        const found = await trainer.readParameter(path);
        const [error, size] = data.reduce(([e, n], x, i) => [e! + (found[i]! - x) ** 2, n! + x * x], [0, 0]);
        expect(Math.sqrt(error! / size!), path).toBeLessThan(1e-4);
      }
    } finally {
      trainer.destroy();
      await loaded.checkpoint.close();
      await golden.close();
    }
  });
});

test("a step whose gradient is not finite changes nothing and says so; the next one goes on", async () => {
  const loaded = await loadModel(`${import.meta.dirname}/fixtures/families/llama`);
  const [sequences, tokens] = [1, 8];
  const { plan } = compileTraining(loaded.model, {
    device: device.facts,
    sequences,
    trains: () => true,
    optimizing: optimizing(loaded.model),
  });
  const uploaded = await uploadParameters(device, plan, loaded.source);
  const trainer = await Trainer.open(device, plan, uploaded, { sequences, tokens });
  try {
    const batch = {
      ids: Uint32Array.of(1, 5, 9, 4, 7, 2, 6, 3),
      target: Uint32Array.of(5, 9, 4, 7, 2, 6, 3, 1),
      counted: new Float32Array(tokens).fill(1),
    };
    const [path] = loaded.model.parameters.map((p) => p.path);
    const before = await trainer.readParameter(path!);
    const cost = await trainer.evaluate(batch);
    const step = async (n: number, counted: Float32Array<ArrayBuffer>) => {
      trainer.begin({ step: n, steps: 2, tokens, micro: 1, drawn: 0 });
      await trainer.micro({ ...batch, counted });
      return (await trainer.update())();
    };
    const bad = await step(
      1,
      batch.counted.map((x, i) => (i === 3 ? Number.NaN : x)),
    );
    expect(bad.applied).toBe(false);
    expect(bad.norm).toBeNaN();
    expect(await trainer.readParameter(path!)).toEqual(before);
    expect((await trainer.readKept(`optimizer.m.${path}`)).every((x) => x === 0)).toBe(true);
    const good = await step(1, batch.counted);
    expect(good.applied).toBe(true);
    expect(good.nll).toBeCloseTo(cost.reduce((a, x) => a + x, 0) / tokens, 4);
    expect(await trainer.readParameter(path!)).not.toEqual(before);
  } finally {
    trainer.destroy();
    await loaded.checkpoint.close();
  }
});
