/**
 * Every optimizer of the library on the GPU beside its own program in float64: from weights, gradients and states as they are on the device,
 * one step leaves what the program says. Of matrices, banks of them, and what is no matrix; steps with no finite gradient leave all as it was.
 */
import { globSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileTraining } from "../compiler/compile-training.ts";
import type { Program } from "../compiler/graph/node.ts";
import type { Value } from "../compiler/ops/define.ts";
import { evaluateScalar } from "../compiler/plan/scalar.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { uploadParameters } from "../runtime/gpu/parameters.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { readOptimizing } from "../runtime/training/optimizing.ts";
import { Trainer } from "../runtime/training/trainer.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const optimizers = globSync("stdlib/optim/*.moe").flatMap((path) =>
  [...readFileSync(path, "utf8").matchAll(/^optimizer (\w+)/gm)].map((m) => m[1]!),
);
const [sequences, tokens] = [2, 8];
const count = sequences * tokens;
const ids = Uint32Array.from({ length: count }, (_, i) => (i * i * 7 + 3) % 90);
const batch = { ids, target: ids.map((id) => (id * 5 + 1) % 90), counted: new Float32Array(count).fill(1) };

test("there are several, one of them of matrices", () => {
  expect(optimizers.length).toBeGreaterThan(3);
});

describe.each(optimizers)("%s", (name) => {
  test.each(["llama", "mixtral"])("%s", async (family) => {
    const loaded = await loadModel(`tests/fixtures/families/${family}`);
    const settings = { optimizer: `${name}(decay: 0.1)`, rate: 1e-2, schedule: "1", clip: 0.5 };
    const { optimizing, trains } = readOptimizing(openWorkspace(), loaded.model, settings);
    const { plan } = compileTraining(loaded.model, {
      device: device.facts,
      sequences,
      trains,
      optimizing,
      verify: true,
    });
    const trainer = await Trainer.open(device, plan, await uploadParameters(device, plan, loaded.source), {
      sequences,
      tokens,
    });
    try {
      for (let step = 1; step <= 2; step++) {
        const host = { step, steps: 2, tokens: count, micro: 1, drawn: 0 };
        trainer.begin(host);
        await trainer.micro(batch);
        const before = await readAll(trainer);
        const { norm } = await (await trainer.update())();
        const after = await readAll(trainer);
        for (const { path } of loaded.model.parameters) {
          const { program, states } = optimizing.ruleOf(path);
          const scalars = new Map(optimizing.scalars.map((s) => [s.id, evaluateScalar(s.expr, host)]));
          scalars.set("scale", Math.min(1, 0.5 / norm));
          const own = before.get(path)!;
          const results = stepOf(program, own, (number) => scalars.get(number)!);
          for (const [output, { data }] of results) {
            const found = after.get(path)!.get(output.replace(/^after\./, ""))!;
            const [error, size] = data.reduce(([e, n], x, i) => [e! + (found[i]! - x) ** 2, n! + x * x], [0, 0]);
            expect(Math.sqrt(error! / Math.max(size!, 1e-12)), `${path} ${output} in step ${step}`).toBeLessThan(1e-4);
          }
          expect(states.every((s) => own.has(s.name))).toBe(true);
        }
      }
      // A gradient that is not finite changes nothing.
      const known = await readAll(trainer);
      trainer.begin({ step: 3, steps: 3, tokens: count, micro: 1, drawn: 0 });
      await trainer.micro({ ...batch, counted: new Float32Array(count).fill(Number.POSITIVE_INFINITY) });
      expect((await (await trainer.update())()).applied).toBe(false);
      for (const [path, values] of await readAll(trainer))
        for (const [what, now] of values)
          if (what !== "g") expect(now, `${path} ${what}`).toEqual(known.get(path)!.get(what));
    } finally {
      trainer.destroy();
      await loaded.checkpoint.close();
    }
  });
});

/** The results of an optimizer's program over a parameter. */
function stepOf(
  program: Program,
  own: ReadonlyMap<string, Float32Array>,
  numberOf: (path: string) => number,
): ReadonlyMap<string, Value> {
  const { inputs } = program.main;
  const element = own.get("w")!.length;
  const axes = inputs[0]!.type.axes.map((a) => ({ name: a.name, size: a.size.value ?? element }));
  const made = evaluateProgram(program, {
    inputs: Object.fromEntries(
      inputs.map(({ attrs: { name } }) => [name, { axes, data: Float64Array.from(own.get(name)!) }]),
    ),
    params: (path) => ({ axes: [], data: Float64Array.of(numberOf(path)) }),
    sizes: { element },
  });
  return new Map(Object.entries(made));
}

/** By path: the parameter `w`, its gradient `g`, and what is remembered of it by name. */
async function readAll(trainer: Trainer): Promise<ReadonlyMap<string, ReadonlyMap<string, Float32Array>>> {
  const all = new Map<string, Map<string, Float32Array>>();
  for (const path of trainer.trained)
    all.set(
      path,
      new Map([
        ["w", await trainer.readParameter(path)],
        ["g", await trainer.readGradient(path)],
      ]),
    );
  for (const { state, path } of trainer.states) all.get(path)!.set(state, await trainer.readState(state, path));
  return all;
}
