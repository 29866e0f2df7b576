/**
 * The family `granitemoeshared`, for which there are no golden values: its tensors by the names of transformers' module, its results
 * held to those of `granitemoe`, for which there are, and the GPU to the oracle.
 */
import { expect, test } from "vitest";
import { buildProgram, evaluateProgram, expandMap, findMap, type Json } from "../compiler/index.ts";
import type { Model } from "../compiler/index.ts";
import type { Value } from "../compiler/ops/define.ts";
import { DiagnosticBag } from "../grammar/index.ts";
import { parseConfig } from "../runtime/model/config-file.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { randomParams } from "./support/compare-plan.ts";
import { Draw, modelOfConfig } from "./support/random-models.ts";
import { checkDecode, checkForward, withRandomSession } from "./support/session-checks.ts";

const sizes = {
  vocab_size: 31,
  hidden_size: 16,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  embedding_multiplier: 3.0,
  attention_multiplier: 0.2,
  residual_multiplier: 0.4,
  logits_scaling: 2.0,
};
const config = (experts: number, chosen: number, shared: number): Record<string, Json> => ({
  ...sizes,
  model_type: "granitemoeshared",
  num_local_experts: experts,
  num_experts_per_tok: chosen,
  shared_intermediate_size: shared,
});

test("its tensors are those of granitemoe, and two a layer for the shared expert where it has one", () => {
  const shapes = (json: Record<string, Json>): Record<string, readonly number[]> => {
    const map = findMap(openWorkspace(), parseConfig("config.json", JSON.stringify(json)));
    const { entries } = expandMap(map, modelOfConfig(json), null, new DiagnosticBag());
    return Object.fromEntries(entries.map(({ tensor, shape }) => [tensor, shape]));
  };
  const plain = shapes({ ...config(3, 2, 0), model_type: "granitemoe" });
  expect(shapes(config(3, 2, 0))).toEqual(plain);
  expect(shapes(config(3, 2, 10))).toEqual({
    ...plain,
    "model.layers.0.shared_mlp.input_linear.weight": [20, 16],
    "model.layers.0.shared_mlp.output_linear.weight": [16, 10],
    "model.layers.1.shared_mlp.input_linear.weight": [20, 16],
    "model.layers.1.shared_mlp.output_linear.weight": [16, 10],
  });
});

test("a shared expert that equals the only other one is that expert twice", () => {
  const plain = modelOfConfig({ ...config(1, 1, 0), model_type: "granitemoe" });
  const params = randomParams(buildProgram(plain.instance));
  const twice = (path: string): Value => {
    const { axes, data } = params(path);
    return path.endsWith("experts.down.w") ? { axes, data: data.map((x) => 2 * x) } : { axes, data };
  };
  const both = (path: string): Value => {
    if (!path.includes("ffn.shared")) return params(path);
    const { axes, data } = params(path.replace("ffn.shared", "ffn.experts"));
    return { axes: axes.slice(1).map((a) => ({ ...a, name: a.name.replace("F", "S") })), data };
  };
  const ids = [3, 1, 4, 1, 5, 9, 2, 6];
  const run = (model: Model, values: (path: string) => Value): readonly number[] => {
    const inputs = { ids: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) } };
    const results = evaluateProgram(buildProgram(model.instance), { inputs, params: values, sizes: { T: ids.length } });
    return [...results["logits"]!.data];
  };
  const expected = run(plain, twice);
  run(modelOfConfig(config(1, 1, 12)), both).forEach((x, i) => expect(x).toBeCloseTo(expected[i]!, 10));
});

test("the GPU computes what the oracle does, a prompt and token by token", async () => {
  const device = await openDevice();
  const options = { draw: new Draw(5) };
  await withRandomSession(device, modelOfConfig(config(3, 2, 10)), options, async (session, { runOracle }, ids) => {
    await checkForward(session, runOracle, [ids(33), ids(2)], "granitemoeshared");
    await checkDecode(session, runOracle, ids(12), ids(6), "granitemoeshared");
  }).finally(() => device.close());
});
