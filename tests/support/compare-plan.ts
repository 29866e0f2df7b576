/** Compiles a program, runs it on a test device and holds the outputs to the oracle's. */
import { expect } from "vitest";
import type { Program } from "../../compiler/graph/node.ts";
import { isOp } from "../../compiler/graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../compiler/graph/traverse.ts";
import type { DType } from "../../compiler/graph/type.ts";
import type { Value } from "../../compiler/ops/define.ts";
import type { CompileOptions } from "../../compiler/pipeline.ts";
import { compileProgram } from "../../compiler/pipeline.ts";
import type { EntryRegime, Plan } from "../../compiler/plan/plan.ts";
import { evaluateProgram } from "../../compiler/reference/interpret.ts";
import type { TestGpu } from "./gpu.ts";
import { openPlan } from "./plan-run.ts";

/** Compiles every output of main for both regimes. */
export function compileAll(program: Program, gpu: TestGpu, more: Partial<CompileOptions> = {}): Plan {
  const regimes = ["prefill", "decode"] as const;
  const entries = program.main.outputs.map((o) => ({ output: o.name, regimes }));
  return compileProgram(program, {
    model: "test",
    device: gpu.facts,
    storage: () => "f32",
    entries,
    verify: true,
    ...more,
  });
}

/** Runs every output in every regime over a whole sequence, and compares it. Inputs that are not given are random. */
export async function compareOutputs(
  program: Program,
  gpu: TestGpu,
  T: number,
  inputs: Readonly<Record<string, readonly number[]>> = {},
  regimes: readonly EntryRegime[] = ["prefill", "decode"],
  more: Partial<CompileOptions> = {},
): Promise<Plan> {
  const entries = program.main.outputs.map((o) => ({ output: o.name, regimes }));
  const plan = compileAll(program, gpu, { ...more, entries });
  const given = inputValues(program, T, inputs);
  const expected = evaluateWhole(program, T, inputs);
  const sizes = { T, Q: T, S: 1, P: T };
  const run = openPlan(plan, gpu, randomParams(program), sizes);
  const all = Array.from({ length: T }, (_, i) => i);
  const data = Object.fromEntries(Object.entries(given).map(([name, v]) => [name, [...v.data]]));
  for (const entry of plan.entries) {
    const outputs = await run.step(entry.name, sizes, {
      position: all,
      slot: all.map(() => 0),
      length: all.map(() => all.length),
      wanted: all,
      ...data,
    });
    for (const [name, actual] of Object.entries(outputs))
      expectClose(`${entry.name}`, actual, expected[name]!.data, dtypeOf(program, name));
  }
  return plan;
}

/** What the oracle gives for a whole sequence, with the inputs and parameters of `compareOutputs`. */
export function evaluateWhole(
  program: Program,
  T: number,
  inputs: Readonly<Record<string, readonly number[]>> = {},
): Readonly<Record<string, Value>> {
  return evaluateProgram(program, {
    inputs: inputValues(program, T, inputs),
    params: randomParams(program),
    sizes: { T },
  });
}

function inputValues(
  program: Program,
  T: number,
  inputs: Readonly<Record<string, readonly number[]>>,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(
    program.main.inputs.map((node) => {
      const { name } = node.attrs;
      const axes = node.type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T }) }));
      const count = axes.reduce((n, a) => n * a.size, 1);
      const data = inputs[name]?.slice(0, count) ?? randomValues(name, count);
      return [name, { axes, data: Float64Array.from(data) }];
    }),
  );
}

function dtypeOf(program: Program, output: string): DType {
  return program.main.outputs.find((o) => o.name === output)?.node.type.dtype ?? "f32";
}

export function expectClose(what: string, actual: Float32Array, expected: Float64Array, dtype: DType = "f32"): void {
  const at = [actual.buffer, actual.byteOffset, actual.length] as const;
  const got = dtype === "f32" ? actual : dtype === "i32" ? new Int32Array(...at) : new Uint32Array(...at);
  const wrong = [...expected].flatMap((x, i) =>
    Math.abs(got[i]! - x) <= 2e-4 * Math.max(1, Math.abs(x)) ? [] : [`[${i}] is ${got[i]}, not ${x}`],
  );
  expect(got.length, what).toBe(expected.length);
  expect(wrong.slice(0, 4), what).toEqual([]);
}

/** Values by path that all storage types hold exactly. */
export function randomParams(program: Program): (path: string) => Value {
  const shapes = new Map<string, Value["axes"]>();
  for (const fn of allFunctions(program)) {
    for (const node of topologicalOrder(outputNodes(fn))) {
      if (isOp(node, "param"))
        shapes.set(
          node.attrs.path,
          node.type.axes.map((a) => ({ name: a.name, size: a.size.value! })),
        );
    }
  }
  const made = new Map<string, Value>();
  return (path) => {
    const known = made.get(path);
    if (known !== undefined) return known;
    const axes = shapes.get(path) ?? shapes.get(path.replaceAll(/\[\d+\]/g, "[#]"))!;
    const value = {
      axes,
      data: Float64Array.from(
        randomValues(
          path,
          axes.reduce((n, a) => n * a.size, 1),
        ),
      ),
    };
    made.set(path, value);
    return value;
  };
}

/** Multiples of 1/128 in [-1/2, 1/2], decided by the name. */
function randomValues(name: string, count: number): readonly number[] {
  let seed = [...name].reduce((h, c) => (h * 31 + c.charCodeAt(0)) >>> 0, 7);
  const next = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Array.from({ length: count }, () => Math.round((next() - 0.5) * 128) / 128);
}
