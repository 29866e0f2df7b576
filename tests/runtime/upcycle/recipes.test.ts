/** The executor streams what the rules mean in float64, whatever its memory. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { applyAssignments, expandUpcycle, type Value } from "../../../compiler/index.ts";
import { MoeError } from "../../../grammar/index.ts";
import { type DataType, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, count, withPlan } from "./support.ts";

async function readAll({ model, source }: LoadedModel): Promise<Map<string, Float64Array>> {
  const all = new Map<string, Float64Array>();
  for (const { path, axes } of model.parameters) {
    const dtype = source.storage(path).toUpperCase() as DataType;
    const bytes = await source.read(
      path,
      0,
      axes.reduce((n, a) => n * a.size, 1),
    );
    all.set(path, Float64Array.from(toFloat32(dtype, bytes)));
  }
  return all;
}

/** Name, how many of the checkpoints, options, bytes of memory. */
const cases: readonly (readonly [string, number, Record<string, Value>, number])[] = [
  ["virtual_groups", 1, { E: count(2), G: count(4), T: count(8) }, 100_000],
  ["drop", 1, { N: count(3) }, 100_000],
  ["noise", 1, { N: count(2) }, 1 << 20],
  ["interpolation", 2, {}, 50_000],
  ["task_arithmetic", 3, {}, 1 << 20],
  ["partition", 1, { N: count(6), K: count(3) }, 200_000],
  ["moefication", 1, { N: count(6), K: count(3), rounds: count(2) }, 200_000],
  ["split_experts", 2, { chunks: count(2) }, 100_000],
  ["blending", 2, {}, 100_000],
  ["weighted_average", 3, { weights: { kind: "list", items: [count(1), count(2), count(5)] } }, 100_000],
  ["slerp", 2, {}, 100_000],
  ["ties", 3, {}, 300_000],
  ["depths", 1, { layers: { kind: "string", value: "last half" } }, 100_000],
  ["depths_experts", 1, { N: count(2) }, 100_000],
  ["ensemble", 3, {}, 100_000],
  ["dare", 3, { consensus: { kind: "bool", value: true } }, 300_000],
];

const recipes = openWorkspace().standard("upcycle");

test.each(cases)("%s of real checkpoints", (name, sources, options, budget) =>
  compareStreams(name, CHECKPOINTS.slice(0, sources), options, budget),
);

/** What has a parameter without a default is no recipe for any checkpoint: these have tests of their own. */
const others = recipes.filter(
  ({ item }) =>
    !cases.some(([name]) => name === item.name.text) &&
    item.params.every((p) => p.source !== null || p.default !== null),
);

test.each(others.map(({ item }) => [item.name.text, item.params] as const))(
  "%s of the first real checkpoints that fit",
  async (name, params) => {
    await withScratch(async (scratch) => {
      const mixture = join(scratch, "mixture");
      const options = new Map([["N", count(2)]]);
      await withPlan("sparse", CHECKPOINTS.slice(0, 1), { options }, (plan) => executeTransfer(plan, mixture));
      const fixture = "tests/fixtures/families/deepseek_v3";
      const cohere = ["seed", "code"].map((seed) => `examples/checkpoints/cohere/${seed}`);
      const needed = params.filter((p) => p.source !== null).length;
      const lists = params.filter((p) => p.source?.count != null).length;
      const refused: string[] = [];
      for (const folders of [CHECKPOINTS, [mixture, CHECKPOINTS[0]!], cohere, [fixture]]) {
        try {
          return await compareStreams(name, folders.slice(0, needed + lists), {}, 1 << 21);
        } catch (error) {
          if (!(error instanceof MoeError)) throw error;
          refused.push(...error.diagnostics.map((d) => d.code));
        }
      }
      expect(refused).toEqual([]);
    });
  },
);

async function compareStreams(
  name: string,
  folders: readonly string[],
  options: Readonly<Record<string, Value>>,
  budget: number,
): Promise<void> {
  await withScratch(async (scratch) => {
    const out = join(scratch, "made");
    const given = new Map(Object.entries(options));
    const request = { options: given, budget, dtype: "f32" as const };
    const expected = await withPlan(name, folders, request, async (plan, models) => {
      expect(plan.peakBytes).toBeLessThanOrEqual(budget);
      await executeTransfer(plan, out);
      const { item, scope } = recipes.find((u) => u.item.name.text === name)!;
      const upcycling = expandUpcycle(
        item,
        scope,
        models.map((m) => m.model),
        given,
      );
      return applyAssignments(upcycling, await Promise.all(models.map(readAll)));
    });
    const made = await loadModel(out);
    const found = await readAll(made);
    await made.checkpoint.close();
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [path, data] of expected) {
      const values = found.get(path)!;
      const worst = data.reduce((most, x, i) => Math.max(most, Math.abs(x - values[i]!) / (1 + Math.abs(x))), 0);
      expect(worst, path).toBeLessThan(1e-6);
    }
  });
}
