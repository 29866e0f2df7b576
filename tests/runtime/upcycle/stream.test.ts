/** Streaming: slices change nothing, memory stays bounded, and what does not finish leaves nothing. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { openWorkspace, readMaps } from "../../../runtime/load/modules.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, withPlan } from "./support.ts";

test("a small budget gives the same file, within the budget", async () => {
  await withScratch(async (scratch) => {
    const [whole, sliced] = [join(scratch, "whole"), join(scratch, "sliced")];
    await withPlan("btx", CHECKPOINTS, {}, (plan) => executeTransfer(plan, whole));
    await withPlan("btx", CHECKPOINTS, { budget: 30_000 }, async (plan) => {
      expect(plan.peakBytes).toBeLessThanOrEqual(30_000);
      await executeTransfer(plan, sliced);
    });
    const [a, b] = [whole, sliced].map((folder) => readFileSync(join(folder, "model.safetensors")));
    expect(a!.equals(b!)).toBe(true);
  });
});

test("a map with transposed tensors is written and read back, whole and in slices", async () => {
  await withScratch(async (scratch) => {
    const family = readFileSync("stdlib/families/llama.moe", "utf8");
    const map = family
      .slice(family.indexOf("map llama"))
      .replace("map llama", "map turned")
      .replace('"llama"', '"turned"')
      .replace('"mlp.gate_proj.weight"', '"mlp.gate_proj.weight" as [D, F]')
      .replace('"self_attn.q_proj.weight" as [G*R*C, D]', '"self_attn.q_proj.weight" as [D, R*G*C]');
    const file = join(scratch, "turned.moe");
    writeFileSync(file, `edition 2026\nimport { Llama, rope_scaling } from "std"\n\n${map}`);
    const workspace = openWorkspace();
    const maps = readMaps(workspace, file);
    const [plain, ...turned] = [join(scratch, "plain"), join(scratch, "turned"), join(scratch, "slices")];
    await withPlan("average", CHECKPOINTS, {}, (plan) => executeTransfer(plan, plain));
    for (const [i, out] of turned.entries()) {
      const budget = i === 0 ? undefined : 400_000;
      const request = budget === undefined ? {} : { budget };
      await withPlan("average", CHECKPOINTS, { ...request, own: { workspace, maps } }, (plan) =>
        executeTransfer(plan, out),
      );
    }
    const expected = await loadModel(plain);
    for (const out of turned) {
      const found = await loadModel(out, workspace, maps);
      expect(found.checkpoint.tensors.get("model.layers.0.mlp.gate_proj.weight")!.shape).toEqual([128, 384]);
      for (const { path, axes } of expected.model.parameters) {
        const length = axes.reduce((n, a) => n * a.size, 1);
        const [a, b] = await Promise.all([expected, found].map((m) => m.source.read(path, 0, length)));
        expect(Buffer.from(a!).equals(b!), path).toBe(true);
      }
      await found.checkpoint.close();
    }
    await expected.checkpoint.close();
  });
});

test("shards of a given size hold the same model", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "mixture");
    await withPlan("btx", CHECKPOINTS, {}, (plan) => executeTransfer(plan, out, { maxShardBytes: 1_000_000 }));
    expect(readdirSync(out).filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(5);
    const { checkpoint } = await loadModel(out);
    await checkpoint.close();
  });
});

test("a failure on the way leaves nothing behind", async () => {
  await withScratch(async (scratch) => {
    const writing = withPlan("btx", CHECKPOINTS, {}, (plan) =>
      executeTransfer(plan, join(scratch, "mixture"), {
        onProgress: (done, total) => {
          expect(readdirSync(scratch)).toHaveLength(1);
          if (done > total / 2) throw new Error("enough");
        },
      }),
    );
    await expect(writing).rejects.toThrow("enough");
    expect(readdirSync(scratch)).toEqual([]);
  });
});
