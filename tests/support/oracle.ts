/** Models and tests run through the oracle: parameters read from a checkpoint folder, or the literals of a `test` block. */
import type { LoadedModel } from "../../runtime/model/model.ts";
import { buildProgram } from "../../compiler/index.ts";
import type { Model, TestCase } from "../../compiler/index.ts";
import { checkExpectation } from "../../compiler/index.ts";
import type { Value } from "../../compiler/ops/define.ts";
import { evaluateProgram } from "../../compiler/reference/interpret.ts";
import { toFloat32 } from "../../runtime/checkpoint/data-type.ts";
import { ELEMENTS } from "../../runtime/checkpoint/element-type.ts";

/** Logits [T, V] of one sequence, row-major. */
export async function runOracle(loaded: LoadedModel, ids: readonly number[]): Promise<Float64Array> {
  const values = await readValues(loaded);
  return runOracleOver(loaded.model, ids, (path) => values.get(path)!);
}

/** The same with parameters from elsewhere. */
export function runOracleOver(model: Model, ids: readonly number[], params: (path: string) => Value): Float64Array {
  const results = evaluateProgram(buildProgram(model.instance), {
    inputs: { ids: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) } },
    params,
    sizes: { T: ids.length },
  });
  return results["logits"]!.data;
}

/** All parameters, by path. */
export async function readValues({ model, source }: LoadedModel): Promise<ReadonlyMap<string, Value>> {
  const params = new Map<string, Value>();
  for (const { path, axes } of model.parameters) {
    const count = axes.reduce((n, a) => n * a.size, 1);
    const bytes = await source.read(path, 0, count);
    const { dtype } = ELEMENTS[source.storage(path)];
    params.set(path, { axes, data: Float64Array.from(toFloat32(dtype, bytes)) });
  }
  return params;
}

/** What a `test` block found other than expected; empty when it passes. */
export function runTestCase(test: TestCase): string[] {
  const results = evaluateProgram(test.program, {
    inputs: test.inputs,
    params: (path) => test.parameters.get(path)!,
    sizes: { T: test.tokens },
  });
  return test.expectations.flatMap(({ value }) => checkExpectation(value, results) ?? []);
}
