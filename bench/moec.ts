/**
 * moec itself, through what anyone may import: the models are `.moe` files beside this one, weights are random. Operators
 * are chains of products with a weight each, so that no product finds its weight in a cache, timed from submit to done.
 */
import { join } from "node:path";
import { compileModel, fillInit, makeConfigured, type Model } from "../compiler/index.ts";
import type { Entry } from "../compiler/plan/plan.ts";
import type { ElementType } from "../runtime/checkpoint/element-type.ts";
import { Buffers } from "../runtime/gpu/buffers.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { Executor } from "../runtime/gpu/execute.ts";
import { openWorkspace, readSource } from "../runtime/load/modules.ts";
import { type ParameterSource, uploadParameters } from "../runtime/gpu/parameters.ts";
import { openSession, type Session } from "../runtime/session/session.ts";
import { type Engine, measurement, median, timeCalls } from "./engine.ts";
import { decodeLength, makePrompt, moeShape as shape, promptLength } from "./moe-shape.ts";

export const engines: readonly Engine[] = [makeEngine("moec (f32)", "f32"), makeEngine("moec (bf16)", "bf16")];

function makeEngine(name: string, storage: ElementType): Engine {
  let matmul: () => Promise<unknown>;
  let matvec: () => Promise<unknown>;
  let session: Session;
  const inner = 1024;
  const outer = 4096;
  const bytes = inner * outer * (storage === "f32" ? 4 : 2);
  return {
    name,
    runsOn: "gpu",
    tasks: ["matmul", "matvec", "prefill", "decode"],
    async prepare() {
      const device = await openDevice();
      matmul = await openProducts(device, "matrices", storage, inner, "prefill");
      matvec = await openProducts(device, "vectors", storage, 1, "decode");
      const plan = compileModel(readModel("mixture.moe", "mixture"), {
        device: device.facts,
        storage: storageOf(storage),
      });
      session = await openSession({ plan, device, source: randomSource(storage), capacity: shape.context });
      await generate(session, 4);
    },
    async measure(task) {
      // Four products in a chain.
      if (task === "matmul") return measurement(task, (4 * 2 * inner ** 3) / (await timeCalls(3, matmul)) / 1e9);
      if (task === "matvec") return measurement(task, (4 * bytes) / (await timeCalls(15, matvec)) / 1e9);
      if (task === "prefill") {
        const seconds = await timeCalls(3, async () => {
          session.reset(0);
          await session.prefill(0, makePrompt());
        });
        return measurement(task, promptLength / seconds);
      }
      if (task === "decode") return measurement(task, 1 / (await generate(session, decodeLength)));
      throw new Error(`${name} does not measure ${task}`);
    },
  };
}

/** Seconds per token after a prompt: the median, as tokens arrive. */
export async function generate(
  session: Session,
  count: number,
  prompt: readonly number[] = makePrompt(),
): Promise<number> {
  const times: number[] = [];
  let last = 0;
  for await (const _ of session.generate({ prompts: [prompt], maxTokens: count + 1, temperature: 0 })) {
    const now = performance.now();
    if (last > 0) times.push((now - last) / 1000);
    last = now;
  }
  return median(times);
}

/** Runs the chain of a configuration of products.moe once, on `rows` rows. */
async function openProducts(
  device: Device,
  config: string,
  storage: ElementType,
  rows: number,
  regime: Entry["regime"],
): Promise<() => Promise<unknown>> {
  const model = readModel("products.moe", config);
  const plan = compileModel(model, {
    device: device.facts,
    storage: storageOf(storage),
    entries: [{ output: "logits", regimes: [regime] }],
  });
  const sizes = { T: rows, Q: rows, S: 1, P: 1 };
  const buffers = await Buffers.allocate(
    device,
    plan,
    await uploadParameters(device, plan, randomSource(storage)),
    sizes,
  );
  const executor = new Executor(device, plan, buffers);
  const x = new Float32Array(rows * 1024);
  fillInit({ kind: "uniform", bound: 1, seed: 1 }, "x", 0, x);
  buffers.writeInput("x", new Uint32Array(x.buffer));
  if (plan.entries[0]!.inputs.includes("wanted"))
    buffers.writeInput(
      "wanted",
      Uint32Array.from({ length: rows }, (_, i) => i),
    );
  return async () => {
    await executor.run(`logits.${regime}`, sizes);
    await device.wait(device.gpu.queue.onSubmittedWorkDone());
  };
}

/** A configuration of a file beside this one. */
export function readModel(file: string, config: string): Model {
  const scope = openWorkspace().open(readSource(join(import.meta.dirname, file)));
  const item = scope.module.items.find((i) => i.kind === "config" && i.name.text === config);
  if (item?.kind !== "config") throw new Error(`${file} has no config ${config}`);
  return makeConfigured(scope, item);
}

/** Norms stay in f32, as they do in checkpoints of mixed precision. */
export function storageOf(storage: ElementType): (path: string) => ElementType {
  return (path) => (path.includes("norm") ? "f32" : storage);
}

/** Random weights of a variance that keeps activations in range; norms are ones. */
function randomSource(storage: ElementType): ParameterSource {
  return {
    storage: storageOf(storage),
    read(path, start, length) {
      const values = new Float32Array(length);
      if (path.includes("norm")) values.fill(1);
      else fillInit({ kind: "uniform", bound: 0.05, seed: 1 }, path, start, values);
      if (storageOf(storage)(path) === "f32") return Promise.resolve(new Uint8Array(values.buffer));
      // bfloat16 is the upper half of a float32.
      return Promise.resolve(
        new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer),
      );
    },
  };
}
