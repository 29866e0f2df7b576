/** moec's training step, through the pieces that `moec train` is made of. Everything is on the device; a step's loss is read back. */
import { compileTraining, fillInit } from "../compiler/index.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import { uploadParameters } from "../runtime/gpu/parameters.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { readOptimizing } from "../runtime/training/optimizing.ts";
import { Trainer } from "../runtime/training/trainer.ts";
import { type Engine, measurement, timeCalls } from "./engine.ts";
import { readModel } from "./moec.ts";
import { makeBatch, trainShape as shape } from "./train-shape.ts";

export const engines: readonly Engine[] = [makeEngine()];

function makeEngine(): Engine {
  let trainer: Trainer;
  let done = 0;
  const { sequences, tokens, beta1, beta2, rate } = shape;
  const count = sequences * tokens;
  const given = makeBatch();
  const batch = {
    ids: Uint32Array.from(given.ids),
    target: Uint32Array.from(given.target),
    counted: new Float32Array(count).fill(1),
  };
  const step = async (): Promise<void> => {
    trainer.begin({ step: ++done, steps: 1000, tokens: count, micro: 1, drawn: 0 });
    await trainer.micro(batch);
    await (
      await trainer.update()
    )();
  };
  return {
    name: "moec",
    runsOn: "gpu",
    tasks: ["train-forward", "train-step"],
    async prepare() {
      const device = await openDevice();
      const model = readModel("train.moe", "llama");
      const optimizer = `AdamW(beta1: ${beta1}, beta2: ${beta2}, decay: 0)`;
      const { plan } = compileTraining(model, {
        device: device.facts,
        sequences,
        ...readOptimizing(openWorkspace(), model, { optimizer, rate, schedule: "1", clip: 0 }),
      });
      const inits = new Map(model.parameters.map((p) => [p.path, p.init]));
      const source = {
        storage: () => "f32" as const,
        read(path: string, start: number, length: number) {
          const values = new Float32Array(length);
          fillInit(inits.get(path)!, path, start, values);
          return Promise.resolve(new Uint8Array(values.buffer));
        },
      };
      trainer = await Trainer.open(device, plan, await uploadParameters(device, plan, source), { sequences, tokens });
      await step();
      await trainer.evaluate(batch);
    },
    async measure(task) {
      if (task === "train-step") return measurement(task, count / (await timeCalls(3, step)));
      if (task === "train-forward")
        return measurement(task, count / (await timeCalls(3, () => trainer.evaluate(batch))));
      throw new Error(`moec does not measure ${task} here`);
    },
  };
}
