/** Whole small models through the compiler's back, on a device, against the oracle. */
import { afterAll, beforeAll, describe, test } from "vitest";
import type { Program } from "../../../compiler/graph/node.ts";
import type { CompileOptions } from "../../../compiler/pipeline.ts";
import { evaluateProgram } from "../../../compiler/reference/interpret.ts";
import { FORMATS, WEIGHT_FORMATS } from "../../../compiler/plan/format.ts";
import { compileAll, expectClose, randomParams } from "../../support/compare-plan.ts";
import { likeGpu } from "../../support/facts.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import type { ModelShape } from "../../support/models.ts";
import { buildModel, tiny } from "../../support/models.ts";
import { heldBy, openPlan } from "../../support/plan-run.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];

describe("a compiled model gives the oracle's logits", () => {
  const cases: Readonly<Record<string, Partial<ModelShape>>> = {
    dense: {},
    "dense, sizes that no four divides": { D: 30, F: 46, V: 59, C: 6, R: 3, bias: true },
    "tied embeddings, window": { tied: true, window: 4 },
    "parallel block, norms on queries and keys, interleaved rotary": {
      parallel: true,
      qkNorm: true,
      interleaved: true,
    },
    routed: { experts: { N: 6, K: 2, soft: false } },
    "routed, odd sizes": { D: 30, F: 18, experts: { N: 5, K: 3, soft: false } },
    soft: { experts: { N: 4, K: 2, soft: true } },
  };
  test.each(Object.entries(cases))("%s", async (_, shape) => {
    await compare(buildModel({ ...tiny, ...shape }), {});
  });

  test.each(WEIGHT_FORMATS.filter((f) => f !== "f32"))("weights kept in %s", async (format) => {
    const experts = { N: 4, K: 2, soft: false };
    await compare(buildModel({ ...tiny, tied: true, experts }), { storage: () => format });
    await compare(buildModel({ ...tiny, D: 38, F: 18, bias: true }), { storage: () => format });
    // In two parts.
    const device = { ...gpu.facts, maxBinding: 600 * FORMATS[format].bits };
    await compare(buildModel({ ...tiny, V: 161, tied: true }), { device, storage: () => format });
  });

  test("weights cut into parts", async () => {
    const device = { ...gpu.facts, maxBinding: 20000 };
    await compare(buildModel({ ...tiny, V: 161, tied: true, experts: { N: 6, K: 2, soft: false } }), { device });
  });

  test("kernels made for a GPU", async () => {
    const device = { ...gpu.facts, ...likeGpu };
    await compare(buildModel({ ...tiny, experts: { N: 6, K: 2, soft: false } }), { device });
  });

  test("kernels without subgroups", async () => {
    await compare(buildModel(tiny), { device: { ...gpu.facts, subgroup: null } });
  });
});

async function compare(program: Program, more: Partial<CompileOptions>): Promise<void> {
  const plan = compileAll(program, gpu, more);
  // The oracle computes with what the plan's formats hold.
  const params = heldBy(plan, randomParams(program));
  const T = IDS.length;
  const expected = evaluateProgram(program, {
    inputs: { ids: { axes: [{ name: "T", size: T }], data: Float64Array.from(IDS) } },
    params,
    sizes: { T },
  })["logits"]!.data;
  const run = openPlan(plan, gpu, params, { T, Q: T, S: 2, P: 16 });
  const positions = IDS.map((_, i) => i);
  const all = await run.step(
    "logits.prefill",
    { T, Q: T, S: 2, P: 16 },
    { ids: IDS, position: positions, slot: IDS.map(() => 1), wanted: positions },
  );
  expectClose("all at once", all["logits"]!, expected);
  // A prefix at once, three tokens, then one by one, in another sequence.
  const V = expected.length / T;
  const prefix = 6;
  await run.step(
    "logits.prefill",
    { T: prefix, Q: 1, S: 2, P: 16 },
    {
      ids: IDS.slice(0, prefix),
      position: positions.slice(0, prefix),
      slot: IDS.slice(0, prefix).map(() => 0),
      wanted: [prefix - 1],
    },
  );
  const three = await run.step(
    "logits.decode",
    { T: 3, Q: 3, S: 2, P: 16 },
    {
      ids: IDS.slice(prefix, prefix + 3),
      position: positions.slice(prefix, prefix + 3),
      slot: [0, 0, 0],
      wanted: [0, 1, 2],
    },
  );
  expectClose("three tokens", three["logits"]!, expected.slice(prefix * V, (prefix + 3) * V));
  for (let t = prefix + 3; t < T; t++) {
    const one = await run.step(
      "logits.decode",
      { T: 1, Q: 1, S: 2, P: 16 },
      { ids: [IDS[t]!], position: [t], slot: [0], wanted: [0] },
    );
    expectClose(`token ${t}`, one["logits"]!, expected.slice(t * V, (t + 1) * V));
  }
}
