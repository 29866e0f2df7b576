/** Recipes on a checkpoint of every family, through to one that loads and computes the same. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Value } from "../../../compiler/index.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { count, evaluateLogits, withPlan } from "./support.ts";

const IDS = [3, 17, 90, 4, 4, 61];
const none: Record<string, Value> = {};
const everyOther = { layers: { kind: "string", value: "every other" } as const };
const groups = { E: count(2), G: count(4), T: count(4) };
const whole = { share: count(1), std: count(0) };
const parts = { N: count(4), K: count(4), scale: count(4), std: count(0) };

/** Family, recipe, options, another target, `model_type` of the result. */
test.each<[string, string, Record<string, Value>, string | undefined, string]>([
  ["llama", "sparse", none, undefined, "mixtral"],
  ["llama", "sparse", everyOther, "SparseLlama", "sparse_llama"],
  ["llama", "moefication", parts, undefined, "mixtral"],
  ["mistral", "virtual_groups", groups, undefined, "mixtral"],
  ["mistral", "partition", parts, undefined, "mixtral"],
  ["qwen2", "sparse", none, undefined, "qwen2_moe"],
  ["qwen2", "shared_expert", none, undefined, "qwen2_moe"],
  ["qwen2", "virtual_groups", groups, undefined, "qwen2_moe"],
  ["qwen3", "sparse", everyOther, undefined, "qwen3_moe"],
  ["qwen3", "virtual_groups", groups, undefined, "qwen3_moe"],
  ["qwen3", "average", none, undefined, "qwen3"],
  ["llama", "shared_expert", none, undefined, "qwen2_moe"],
  ["mistral", "depths", whole, undefined, "depths_llama"],
  ["qwen3", "depths", whole, undefined, "depths_llama"],
  ["qwen2", "idle_experts", { std: count(0) }, undefined, "sparse_llama"],
  ["qwen2", "depths_experts", { ...whole, N: count(3) }, undefined, "sparse_depths_llama"],
])("%s by %s keeps its function on disk (%j %s)", async (family, name, options, to, type) => {
  const folder = `tests/fixtures/families/${family}`;
  await withScratch(async (scratch) => {
    const out = join(scratch, "made");
    const request = { options: new Map(Object.entries(options)), to };
    const before = await withPlan(name, [folder], request, async (plan, [source]) => {
      expect(plan.warnings).toEqual([]);
      await executeTransfer(plan, out);
      return evaluateLogits(source!, IDS);
    });
    const made = await loadModel(out);
    const after = await evaluateLogits(made, IDS);
    await made.checkpoint.close();
    expect((JSON.parse(readFileSync(join(out, "config.json"), "utf8")) as { model_type: string }).model_type).toBe(
      type,
    );
    const worst = after.reduce((most, x, i) => Math.max(most, Math.abs(x - before[i]!)), 0);
    expect(worst).toBeLessThan(2e-5);
  });
});

test.each(["gpt2", "gpt_neox", "gemma2", "cohere", "deepseek_v3", "gpt_oss", "jetmoe"])(
  "%s can be merged with a model of its own family",
  async (family) => {
    const folder = `tests/fixtures/families/${family}`;
    await withPlan("average", [folder, folder], {}, (plan) => {
      expect([plan.target.name, plan.warnings]).toEqual([plan.map.item.model.text, []]);
      return Promise.resolve();
    });
    const request = { options: new Map([["density", { kind: "number", value: 0.5, float: true } as const]]) };
    await withPlan("ties", [folder, folder], request, (plan) =>
      Promise.resolve(expect(plan.bytesRead).toBeGreaterThan(0)),
    );
  },
);

test.each([
  ["qwen2_moe", "merge_experts", "qwen2"],
  ["deepseek_v2", "merge_deepseek", "deepseek_v2"],
  ["deepseek_v3", "merge_deepseek", "deepseek_v3"],
])("%s by %s is a dense %s on disk", async (family, name, type) => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "made");
    await withPlan(name, [`tests/fixtures/families/${family}`], {}, (plan) => executeTransfer(plan, out));
    const made = await loadModel(out);
    expect(made.map.item.name.text).toBe(type);
    expect(made.model.parameters.filter(({ path }) => /pick|experts|shared/.test(path))).toEqual([]);
    expect(made.model.parameters.some(({ path }) => /blocks\[1\].*\.down\.w/.test(path))).toBe(true);
    await made.checkpoint.close();
  });
});

test.each(["llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_neox", "gemma2", "cohere"])(
  "an ensemble of %s with itself is stored by that family's map, and says what it says",
  async (family) => {
    const folder = `tests/fixtures/families/${family}`;
    await withScratch(async (scratch) => {
      const out = join(scratch, "made");
      const before = await withPlan("ensemble", [folder, folder], {}, async (plan, [source]) => {
        expect(plan.warnings).toEqual([]);
        await executeTransfer(plan, out);
        return { logits: await evaluateLogits(source!, IDS), names: source!.entries.map((e) => e.tensor) };
      });
      const made = await loadModel(out);
      expect(made.entries.map((e) => e.tensor).sort()).toEqual(
        [0, 1].flatMap((n) => before.names.map((name) => `models.${n}.${name}`)).sort(),
      );
      const after = await evaluateLogits(made, IDS);
      await made.checkpoint.close();
      const width = before.logits.length / IDS.length;
      const worst = after.reduce((most, x, i) => {
        const row = before.logits.slice(i - (i % width), i - (i % width) + width);
        const log = Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0));
        return Math.max(most, Math.abs(x - (before.logits[i]! - log)));
      }, 0);
      expect(worst).toBeLessThan(1e-5);
    });
  },
);

test("granite with a shared expert keeps its multipliers and its function on disk", async () => {
  await withScratch(async (scratch) => {
    const [dense, out] = [join(scratch, "dense"), join(scratch, "out")];
    const mixture = "tests/fixtures/families/granitemoe";
    await withPlan("merge_experts", [mixture], {}, (plan) => executeTransfer(plan, dense));
    const before = await withPlan("shared_expert", [dense], {}, async (plan, [source]) => {
      expect(plan.warnings).toEqual([]);
      await executeTransfer(plan, out);
      return evaluateLogits(source!, IDS);
    });
    const made = await loadModel(out);
    const after = await evaluateLogits(made, IDS);
    expect([made.map.item.name.text, made.model.args.get("logits_scaling")]).toMatchObject([
      "granitemoeshared",
      { value: expect.not.closeTo(1) },
    ]);
    await made.checkpoint.close();
    expect(after.reduce((most, x, i) => Math.max(most, Math.abs(x - before[i]!)), 0)).toBeLessThan(2e-5);
  });
});

test("there and back is the checkpoint that was there", async () => {
  await withScratch(async (scratch) => {
    const [there, back] = [join(scratch, "there"), join(scratch, "back")];
    const options = new Map([["N", count(2)]]);
    await withPlan("sparse", ["tests/fixtures/families/qwen3"], { options }, (plan) => executeTransfer(plan, there));
    await withPlan("merge_experts", [there], {}, (plan) => executeTransfer(plan, back));
    const [first, last] = await Promise.all(["tests/fixtures/families/qwen3", back].map((f) => loadModel(f)));
    expect([...last!.model.args.keys()]).toEqual([...first!.model.args.keys()]);
    for (const { path, axes } of first!.model.parameters) {
      const length = axes.reduce((n, a) => n * a.size, 1);
      expect(await last!.source.read(path, 0, length), path).toEqual(await first!.source.read(path, 0, length));
    }
    await Promise.all([first!, last!].map((m) => m.checkpoint.close()));
  });
});
