/**
 * The family `deepseek`, which transformers has not: its tensors by the names of the published code, its results held to those of
 * `granitemoeshared` and `mixtral`, whose routers come to the same numbers in another order, and the GPU to the oracle.
 */
import { expect, test } from "vitest";
import { buildProgram, evaluateProgram, expandMap, findMap, type Json, type Model } from "../compiler/index.ts";
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
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_experts_per_tok: 2,
};
const config = (more: Record<string, Json>): Record<string, Json> => ({
  ...sizes,
  model_type: "deepseek",
  intermediate_size: 20,
  moe_intermediate_size: 6,
  n_routed_experts: 4,
  norm_topk_prob: true,
  ...more,
});

function tensorsOf(json: Record<string, Json>): ReadonlyMap<string, readonly number[]> {
  const map = findMap(openWorkspace(), parseConfig("config.json", JSON.stringify(json)));
  const { entries } = expandMap(map, modelOfConfig(json), null, new DiagnosticBag());
  return new Map(entries.map(({ tensor, shape }) => [tensor, shape]));
}

test("its tensors: dense layers, mixtures, shared experts as one", () => {
  const shapes = tensorsOf(config({ n_shared_experts: 2, first_k_dense_replace: 1, moe_layer_freq: 2 }));
  const feeds = [...shapes].filter(([name]) => name.includes(".mlp.") && !/experts\.[1-9]/.test(name));
  expect(Object.fromEntries(feeds)).toEqual({
    ...Object.fromEntries(
      [0, 1].flatMap((l) => [
        [`model.layers.${l}.mlp.gate_proj.weight`, [20, 16]],
        [`model.layers.${l}.mlp.up_proj.weight`, [20, 16]],
        [`model.layers.${l}.mlp.down_proj.weight`, [16, 20]],
      ]),
    ),
    "model.layers.2.mlp.gate.weight": [4, 16],
    "model.layers.2.mlp.experts.0.gate_proj.weight": [6, 16],
    "model.layers.2.mlp.experts.0.up_proj.weight": [6, 16],
    "model.layers.2.mlp.experts.0.down_proj.weight": [16, 6],
    "model.layers.2.mlp.shared_experts.gate_proj.weight": [12, 16],
    "model.layers.2.mlp.shared_experts.up_proj.weight": [12, 16],
    "model.layers.2.mlp.shared_experts.down_proj.weight": [16, 12],
  });
});

const ids = [3, 1, 4, 1, 5, 9, 2, 6];

function run(model: Model, from: Model): readonly number[] {
  const inputs = { ids: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) } };
  const draw = randomParams(buildProgram(from.instance));
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const params = (path: string): { axes: { name: string; size: number }[]; data: Float64Array } => ({
    axes: [...axes.get(path)!],
    data: draw(path).data as Float64Array,
  });
  const results = evaluateProgram(buildProgram(model.instance), { inputs, params, sizes: { T: ids.length } });
  return [...results["logits"]!.data];
}

test("softmax before top-K, renormalised, is softmax after it", () => {
  const own = modelOfConfig(config({ n_shared_experts: 2 }));
  const granite = modelOfConfig({
    ...sizes,
    model_type: "granitemoeshared",
    intermediate_size: 6,
    shared_intermediate_size: 12,
    num_local_experts: 4,
    attention_multiplier: 0.5,
  });
  const expected = run(granite, granite);
  run(own, granite).forEach((x, i) => expect(x).toBeCloseTo(expected[i]!, 10));
  const other = run(modelOfConfig(config({ n_shared_experts: 2, norm_topk_prob: false })), granite);
  expect(Math.max(...other.map((x, i) => Math.abs(x - expected[i]!)))).toBeGreaterThan(1e-3);
  const mixtral = modelOfConfig({
    ...sizes,
    model_type: "mixtral",
    intermediate_size: 6,
    num_local_experts: 4,
    rms_norm_eps: 1e-6,
    rope_theta: 10000.0,
  });
  const plain = run(mixtral, mixtral);
  run(modelOfConfig(config({ n_shared_experts: null })), mixtral).forEach((x, i) =>
    expect(x).toBeCloseTo(plain[i]!, 10),
  );
});

test("the GPU computes what the oracle does, a prompt and token by token", async () => {
  const device = await openDevice();
  const model = modelOfConfig(config({ n_shared_experts: 1, first_k_dense_replace: 1 }));
  await withRandomSession(device, model, { draw: new Draw(5) }, async (session, { runOracle }, draw) => {
    await checkForward(session, runOracle, [draw(33), draw(2)], "deepseek");
    await checkDecode(session, runOracle, draw(12), draw(6), "deepseek");
  }).finally(() => device.close());
});
