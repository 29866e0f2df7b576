/** Mixtures of the example checkpoints: values, types, bytes, and what they compute. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, count, evaluateLogits, GOLDEN, readValues, SET_ROUTER, withPlan } from "./support.ts";

const worstDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

test("Branch-Train-MiX in float32 gives the reference's logits", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "mixture");
    await withPlan("btx", CHECKPOINTS, { overrides: [SET_ROUTER], dtype: "f32" }, (plan) => executeTransfer(plan, out));
    const mixture = await loadModel(out);
    const [ids, expected] = [await readValues(GOLDEN, "ids"), await readValues(GOLDEN, "logits")];
    const [row, tokens, vocabulary] = [2, 32, 2048];
    const logits = await evaluateLogits(mixture, [...ids.slice(row * 64, row * 64 + tokens)]);
    await mixture.checkpoint.close();
    const from = row * 64 * vocabulary;
    expect(logits.length).toBe(tokens * vocabulary);
    expect(worstDifference(logits, expected.slice(from, from + logits.length))).toBeLessThan(1e-4);
  });
});

test("in the sources' type, experts are the sources' bytes and averages are rounded once", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "mixture");
    await withPlan("btx", CHECKPOINTS, {}, (plan) => executeTransfer(plan, out));
    const mixture = await openCheckpoint(out);
    const sources = await Promise.all(CHECKPOINTS.map(openCheckpoint));
    expect(new Set([...mixture.tensors.values()].map((t) => t.dtype))).toEqual(new Set(["BF16"]));
    const names = { w1: "gate_proj", w3: "up_proj", w2: "down_proj" };
    for (const [n, source] of sources.entries()) {
      for (const [to, from] of Object.entries(names)) {
        const expert = await mixture.readTensor(`model.layers.3.block_sparse_moe.experts.${n}.${to}.weight`);
        expect(Buffer.from(expert).equals(await source.readTensor(`model.layers.3.mlp.${from}.weight`))).toBe(true);
      }
    }
    for (const name of ["model.layers.1.self_attn.q_proj.weight", "model.embed_tokens.weight", "model.norm.weight"]) {
      const [average, ...parts] = await Promise.all([mixture, ...sources].map((c) => c.toFloat32(name)));
      const isRounded = (x: number, i: number): boolean => {
        const exact = parts.reduce((sum, part) => sum + part[i]!, 0) / parts.length;
        // Half a unit in the last of bfloat16's eight bits, and a little for the sum in float32.
        return Math.abs(x - exact) <= 2 ** -8 * Math.abs(exact) + 1e-9;
      };
      expect(average!.every(isRounded)).toBe(true);
    }
    expect(JSON.parse(await readFile(join(out, "config.json"), "utf8"))).toMatchObject({
      model_type: "mixtral",
      dtype: "bfloat16",
      torch_dtype: "bfloat16",
      num_local_experts: 4,
      num_experts_per_tok: 2,
      hidden_size: 128,
    });
    for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
      expect((await readFile(join(out, name))).equals(await readFile(join(CHECKPOINTS[0]!, name)))).toBe(true);
    await Promise.all([mixture, ...sources].map((c) => c.close()));
  });
});

test("averages in float32 are the means of the sources", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "soup");
    await withPlan("average", CHECKPOINTS, { dtype: "f32" }, (plan) => executeTransfer(plan, out));
    const [soup, ...sources] = await Promise.all([out, ...CHECKPOINTS].map(openCheckpoint));
    expect([...soup!.tensors.keys()].sort()).toEqual([...sources[0]!.tensors.keys()].sort());
    for (const name of soup!.tensors.keys()) {
      const [found, ...parts] = await Promise.all([soup!, ...sources].map((c) => c.toFloat32(name)));
      const exact = found!.map((_, i) => parts.reduce((sum, part) => sum + part[i]!, 0) / parts.length);
      expect(worstDifference(found!, exact)).toBeLessThan(1e-6);
    }
    await Promise.all([soup!, ...sources].map((c) => c.close()));
  });
});

test("sparse upcycling keeps the function, every expert is the feed-forward, and routers are spread as asked", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "sparse");
    const options = new Map([["N", count(6)]]);
    await withPlan("sparse", [CHECKPOINTS[3]!], { options }, (plan) => executeTransfer(plan, out));
    const [mixture, source] = await Promise.all([out, CHECKPOINTS[3]!].map((folder) => loadModel(folder)));
    const ids = Array.from({ length: 12 }, (_, i) => (i * 37 + 5) % 2048);
    const logits = await evaluateLogits(mixture!, ids);
    expect(worstDifference(logits, await evaluateLogits(source!, ids))).toBeLessThan(1e-4);
    const dense = await source!.checkpoint.readTensor("model.layers.0.mlp.down_proj.weight");
    for (let n = 0; n < 6; n++) {
      const expert = await mixture!.checkpoint.readTensor(`model.layers.0.block_sparse_moe.experts.${n}.w2.weight`);
      expect(Buffer.from(expert).equals(dense)).toBe(true);
    }
    const routers = await Promise.all(
      [0, 1].map((l) => mixture!.checkpoint.toFloat32(`model.layers.${l}.block_sparse_moe.gate.weight`)),
    );
    expect(routers[0]).not.toEqual(routers[1]);
    const deviation = Math.sqrt(routers[0]!.reduce((sum, x) => sum + x * x, 0) / routers[0]!.length);
    expect(Math.abs(deviation - 0.02)).toBeLessThan(0.002);
    await Promise.all([mixture!, source!].map((m) => m.checkpoint.close()));
  });
});
