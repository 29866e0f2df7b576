import { afterAll, beforeAll, expect, test } from "vitest";
import { compileTraining } from "../../../compiler/index.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { uploadParameters } from "../../../runtime/gpu/parameters.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { memoryOf } from "../../../runtime/training/memory.ts";
import { Trainer } from "../../../runtime/training/trainer.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { readOptimizing } from "../../../runtime/training/optimizing.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

test("the memory that a plan tells of beforehand is what is allocated, and no step adds to it", async () => {
  const loaded = await loadModel(`${import.meta.dirname}/../../fixtures/families/olmoe`);
  const [sequences, tokens] = [2, 16];
  const { plan } = compileTraining(loaded.model, {
    device: device.facts,
    sequences,
    ...readOptimizing(openWorkspace(), loaded.model, {}),
  });
  const told = memoryOf(plan, { T: tokens, Q: tokens, S: 1, P: tokens });
  const trainer = await Trainer.open(device, plan, await uploadParameters(device, plan, loaded.source), {
    sequences,
    tokens,
  });
  const made = { buffers: 0 };
  const create = device.gpu.createBuffer.bind(device.gpu);
  try {
    const allocated = Object.values(trainer.executor.buffers.memory).reduce((a, b) => a + b, 0);
    expect(told.total / allocated).toBeGreaterThan(0.99);
    expect(told.total / allocated).toBeLessThan(1.01);
    const batch = {
      ids: Uint32Array.from({ length: sequences * tokens }, (_, i) => i),
      target: new Uint32Array(sequences * tokens),
      counted: new Float32Array(sequences * tokens).fill(1),
    };
    const step = async (n: number): Promise<void> => {
      trainer.begin({ step: n, steps: 20, tokens: sequences * tokens, micro: 1, drawn: 0 });
      await trainer.micro(batch);
      await (
        await trainer.update()
      )();
    };
    await step(1);
    device.gpu.createBuffer = (descriptor) => {
      made.buffers++;
      return create(descriptor);
    };
    for (let n = 2; n <= 20; n++) await step(n);
    expect(made.buffers).toBe(0);
    expect(Object.values(trainer.executor.buffers.memory).reduce((a, b) => a + b, 0)).toBe(allocated);
  } finally {
    device.gpu.createBuffer = create;
    trainer.destroy();
    await loaded.checkpoint.close();
  }
});
