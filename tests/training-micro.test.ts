/**
 * Micro-batches on the GPU: what sequences add up to in kept buffers is what the oracle adds up from the same program, and the gradient of the
 * whole batch as transformers has it.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Value } from "../compiler/ops/define.ts";
import { compileProgram } from "../compiler/pipeline.ts";
import type { Plan } from "../compiler/plan/plan.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { makeTrainingProgram, microEntry, SHARES } from "../compiler/compile-training.ts";
import type { TrainingProgram } from "../compiler/training/training-program.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { uploadParameters } from "../runtime/gpu/parameters.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { Trainer } from "../runtime/training/trainer.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

/** Sequences of a micro-batch, and tokens of each. */
const [S, T] = [2, 12];

const folderOf = (family: string): string => `${import.meta.dirname}/fixtures/families/${family}`;

function compileMicro(training: TrainingProgram): Plan {
  return compileProgram(training.program, {
    model: "Micro",
    device: device.facts,
    storage: () => "f32",
    entries: [microEntry(training)],
    scalars: SHARES,
    verify: true,
  });
}

describe.each(["llama", "cohere", "mixtral", "qwen3_moe", "granitemoe", "olmoe", "deepseek_v3"])("%s", (family) => {
  test("micro-batches add up to what the oracle adds up", async () => {
    const loaded = await loadModel(folderOf(family));
    const training = makeTrainingProgram(loaded.model, { sequences: S, trains: () => true });
    const plan = compileMicro(training);
    const batches = [0, 1].map((m) => ({
      ids: Uint32Array.from({ length: S * T }, (_, i) => (i * i * 7 + 13 * m + i) % 61),
      target: Uint32Array.from({ length: S * T }, (_, i) => (i * 5 + m) % 61),
      counted: Float32Array.from({ length: S * T }, (_, i) => Number(i > 3 * m)),
    }));
    const tokens = batches.reduce((n, { counted }) => n + counted.reduce((a, x) => a + x, 0), 0);
    const host = { step: 1, steps: 1, tokens, micro: batches.length, drawn: 0 };
    const trainer = await Trainer.open(device, plan, await uploadParameters(device, plan, loaded.source), {
      sequences: S,
      tokens: T,
    });
    try {
      trainer.begin(host);
      for (const batch of batches) await trainer.micro(batch);
      const wanted = await addUp(training, loaded, batches, host);
      for (const path of training.trained) {
        const found = await trainer.readGradient(path);
        expect(distance(found, wanted.get(`grad.${path}`)!), path).toBeLessThan(1e-4);
      }
      for (const id of [
        "loss",
        "nll",
        ...training.program.main.outputs.filter((o) => o.role === "update").map((o) => o.name),
      ])
        expect(
          distance((await trainer.readKept(keptAs(id))).slice(0, wanted.get(id)!.length), wanted.get(id)!),
          id,
        ).toBeLessThan(1e-5);
    } finally {
      trainer.destroy();
      await loaded.checkpoint.close();
    }
  });
});

/** Of the oracle: shares summed, updates as they are last, accumulators carried on. */
async function addUp(
  { program, accumulators }: TrainingProgram,
  { model, source }: Awaited<ReturnType<typeof loadModel>>,
  batches: readonly { readonly ids: Uint32Array; readonly target: Uint32Array; readonly counted: Float32Array }[],
  host: { readonly tokens: number; readonly micro: number },
): Promise<ReadonlyMap<string, Float64Array>> {
  const params = new Map<string, Value>();
  for (const { path, axes } of model.parameters) {
    const bytes = await source.read(
      path,
      0,
      axes.reduce((n, a) => n * a.size, 1),
    );
    params.set(path, { axes, data: Float64Array.from(new Float32Array(bytes.slice().buffer)) });
  }
  const scalar = (x: number): Value => ({ axes: [], data: Float64Array.of(x) });
  params.set("share.token", scalar(1 / host.tokens)).set("share.micro", scalar(1 / host.micro));
  for (const { path, type, initial } of accumulators) {
    const axes = type.axes.map((a) => ({ name: a.name, size: a.size.value! }));
    params.set(path, { axes, data: new Float64Array(axes.reduce((n, a) => n * a.size, 1)).fill(initial) });
  }
  const sums = new Map<string, Float64Array>();
  for (const batch of batches) {
    const axes = [
      { name: "batch", size: S },
      { name: "T", size: T },
    ];
    const inputs = Object.fromEntries(
      Object.entries(batch).map(([name, x]) => [name, { axes, data: Float64Array.from(x as Float32Array) }]),
    );
    const results = evaluateProgram(program, { inputs, params: (path) => params.get(path)!, sizes: { T } });
    for (const { name, role } of program.main.outputs) {
      const { data, axes: own } = results[name]!;
      if (role === "accumulator") params.set(name, { axes: own, data: Float64Array.from(data) });
      const before = sums.get(name);
      const adds = role !== "update" && role !== "accumulator" && before !== undefined;
      sums.set(name, adds ? before.map((x, i) => x + data[i]!) : Float64Array.from(data));
    }
  }
  return sums;
}

/** Of the largest element, or of 1e-3. */
function distance(found: ArrayLike<number>, wanted: Float64Array): number {
  expect(found.length).toBe(wanted.length);
  const [error, size] = [...wanted].reduce(([e, n], x, i) => [e + (found[i]! - x) ** 2, n + x * x], [0, 0]);
  return Math.sqrt(error!) / Math.max(Math.sqrt(size!), 1e-6);
}

const keptAs = (output: string): string => (output === "loss" || output === "nll" ? `step.${output}` : output);
