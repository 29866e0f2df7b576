/**
 * Runs prepared `test` blocks on a GPU, once with the kernels for many rows and once with those for few. A device has to
 * meet the same expectations as the oracle, within the tolerances that they state. A result that needs later positions
 * (a loss over all tokens, say) is computed of the whole sequence, which has many rows.
 */
import type { ArrayValue, TestCase } from "../../compiler/index.ts";
import { compileProgram, peeksOf } from "../../compiler/index.ts";
import { evaluateSize, type Plan } from "../../compiler/plan/plan.ts";
import { Buffers } from "../gpu/buffers.ts";
import type { Device } from "../gpu/device.ts";
import { Executor } from "../gpu/execute.ts";
import { type ParameterSource, uploadParameters } from "../gpu/parameters.ts";
import { StagingPool } from "../gpu/readback.ts";
import { checkResults, evaluateTest, type Failure, valueOf } from "./prepare.ts";

const REGIMES = ["prefill", "decode"] as const;

/** Empty when every expectation holds in both regimes. */
export async function runTestOnDevice(test: TestCase, device: Device): Promise<readonly Failure[]> {
  const failures: Failure[] = [];
  for (const regime of REGIMES) {
    const results: Record<string, ArrayValue> = { ...evaluateTest(test) };
    for (const { name } of test.program.main.outputs) {
      const plan = compileOutput(test, name, device, regime);
      const axes = results[name]?.axes ?? [];
      results[name] = { axes, data: await runPlan(plan, test, device) };
    }
    failures.push(...checkResults(test, results).map((f) => ({ ...f, found: `${f.found} (kernels for ${regime})` })));
  }
  return failures;
}

function compileOutput(test: TestCase, output: string, device: Device, regime: "prefill" | "decode"): Plan {
  const looksAhead = peeksOf(test.program, [output]).length > 0;
  return compileProgram(test.program, {
    model: test.title,
    device: device.facts,
    storage: () => "f32",
    entries: [{ output, regimes: [looksAhead ? "whole" : regime] }],
  });
}

/** The one output of a plan's one entry. */
async function runPlan(plan: Plan, test: TestCase, device: Device): Promise<Float64Array> {
  const parameters = await uploadParameters(device, plan, sourceOf(test));
  const sizes = { T: test.tokens, Q: test.tokens, S: 1, P: test.tokens };
  const buffers = await Buffers.allocate(device, plan, parameters, sizes);
  const staging = new StagingPool(device);
  try {
    const entry = plan.entries[0]!;
    for (const { id, name, type } of plan.buffers.filter((b) => b.role === "per-sequence"))
      buffers.writePerSequence(id, 0, wordsOf(inputOf(test, name), type));
    for (const id of entry.inputs) {
      const declared = plan.buffers.find((b) => b.id === id)!;
      buffers.writeInput(id, wordsOf(inputOf(test, declared.name), declared.type));
    }
    const { id, elements, type } = plan.buffers.find((b) => b.id === entry.outputs[0])!;
    const read = staging.read(buffers.find({ kind: "buffer", id }).buffer, evaluateSize(elements, sizes) * 4);
    await new Executor(device, plan, buffers).run(entry.name, sizes, [read]);
    const bytes = await read.take();
    const Numbers = type === "f32" ? Float32Array : type === "i32" ? Int32Array : Uint32Array;
    return Float64Array.from(new Numbers(bytes));
  } finally {
    staging.destroy();
    buffers.destroy();
  }
}

function sourceOf(test: TestCase): ParameterSource {
  return {
    storage: () => "f32",
    read: async (path, start, length) => {
      const values = Float32Array.from(valueOf(test, path).data.subarray(start, start + length));
      return new Uint8Array(values.buffer);
    },
  };
}

/** The test's own inputs, and those that every step has: one sequence from its start, all rows wanted. */
function inputOf(test: TestCase, name: string): ArrayLike<number> {
  const own = test.inputs[name];
  if (own !== undefined) return own.data;
  if (name === "runs") return [0, test.tokens];
  return Array.from({ length: test.tokens }, (_, i) => (name === "slot" ? 0 : name === "length" ? test.tokens : i));
}

/** Elements of any type as the 4-byte words that a buffer is written with. */
function wordsOf(values: ArrayLike<number>, type: "f32" | "u32" | "i32"): Uint32Array<ArrayBuffer> {
  if (type === "u32") return Uint32Array.from(values);
  return new Uint32Array((type === "f32" ? Float32Array.from(values) : Int32Array.from(values)).buffer);
}
