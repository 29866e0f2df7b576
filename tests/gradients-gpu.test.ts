/**
 * The gradient program of every layer and router of the standard library on the GPU, beside the oracle: one number of its results and losses,
 * by each parameter and input, a whole sequence at once.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Program } from "../compiler/graph/node.ts";
import { isOp } from "../compiler/graph/node.ts";
import { outputNodes, topologicalOrder } from "../compiler/graph/traverse.ts";
import { differentiateProgram } from "../compiler/index.ts";
import type { Value } from "../compiler/ops/define.ts";
import { compileProgram } from "../compiler/pipeline.ts";
import { chosenAlone } from "../compiler/training/chosen-alone.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { randomParams } from "./support/compare-plan.ts";
import type { TestGpu } from "./support/gpu.ts";
import { openTestGpu } from "./support/gpu.ts";
import { scaleInputs, weighted } from "./support/gradient-program.ts";
import { makeLayer, namesOf } from "./support/library.ts";
import { openPlan } from "./support/plan-run.ts";

const T = 7;
/** Of the largest element of each gradient, or of 1. */
const TOLERANCE = 1e-4;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** What looks at token ids alone and has no parameters has nothing that a gradient could be of. */
const differentiable = namesOf().filter((name) => {
  const { program } = makeLayer(name, {}, "train");
  const reads = program.main.inputs.some(({ type }) => type.dtype === "f32");
  return reads || topologicalOrder(outputNodes(program.main)).some((node) => isOp(node, "param"));
});

test("that is nearly all", () => expect(differentiable.length).toBeGreaterThan(namesOf().length - 3));

test.each(differentiable)("%s", async (name) => {
  const { program, b } = makeLayer(name, {}, "train");
  const gradient = differentiateProgram(chosenAlone(scaleInputs(weighted(program, b), b), b), "loss", b);
  expect(gradient.main.outputs.length).toBeGreaterThan(1);
  const [found, wanted] = await runBoth(gradient);
  for (const [output, { data }] of Object.entries(wanted)) {
    const most = data.reduce((a, x) => Math.max(a, Math.abs(x)), 1);
    const off = [...data].map((x, i) => Math.abs(x - found[output]![i]!) / most);
    // Not a number is not close.
    expect(
      off.filter((x) => !(x <= TOLERANCE)),
      output,
    ).toEqual([]);
  }
});

async function runBoth(
  program: Program,
): Promise<[Readonly<Record<string, Float32Array>>, Readonly<Record<string, Value>>]> {
  const names = program.main.outputs.map((o) => o.name);
  const plan = compileProgram(program, {
    model: "gradient",
    device: gpu.facts,
    storage: () => "f32",
    verify: true,
    entries: [{ output: "loss", computes: names, regimes: ["whole"] }],
  });
  const params = randomParams(program);
  const all = Array.from({ length: T }, (_, t) => t);
  const inputs = Object.fromEntries(
    program.main.inputs.map(({ attrs: { name, type } }): [string, Value] => {
      const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T, S: 1 }) }));
      const count = axes.reduce((n, a) => n * a.size, 1);
      const at = (i: number): number =>
        type.dtype === "f32" ? Math.fround(Math.sin(7.3 * i + name.length)) : (3 * i) % 4;
      return [name, { axes, data: Float64Array.from({ length: count }, (_, i) => at(i)) }];
    }),
  );
  const sizes = { T, Q: T, S: 1, P: T };
  const found = await openPlan(plan, gpu, params, sizes).step("loss.whole", sizes, {
    position: all,
    slot: all.map(() => 0),
    length: all.map(() => T),
    wanted: all,
    ...Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, [...data]])),
  });
  return [found, evaluateProgram(program, { inputs, params, sizes: { T } })];
}
