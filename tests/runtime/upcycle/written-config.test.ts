/** What a written config.json says beside its model: the type of most bytes, and what the base says that no map knows. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Json } from "../../../compiler/index.ts";
import { fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { exportModel } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { type Config, configOf, type MadeTensor, tensorsOf, writeModel } from "../../support/made-checkpoint.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { withPlan } from "./support.ts";

/** A Llama in bfloat16 with norms in float32, as trainers leave them. */
async function mixed(): Promise<readonly MadeTensor[]> {
  const tensors = await tensorsOf("llama");
  return tensors.map((t) =>
    t.name.includes("norm") ? t : { ...t, dtype: "BF16", bytes: fromFloat32("BF16", toFloat32("F32", t.bytes)) },
  );
}

const base: Config = {
  ...configOf("llama"),
  pad_token_id: 7,
  rope_theta: 5,
  initializer_range: 0.5,
  auto_map: { x: "y" },
};
const readConfig = (folder: string): Readonly<Record<string, Json>> =>
  JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Readonly<Record<string, Json>>;

const kept = { pad_token_id: 7, initializer_range: 0.5, dtype: "bfloat16", torch_dtype: "bfloat16" };

test("norms in float32 beside bfloat16 make no float32 model, and what pads is kept, whether upcycled or exported", async () => {
  await withScratch(async (scratch) => {
    const source = await writeModel(join(scratch, "source"), base, await mixed());
    const [out, copy] = [join(scratch, "out"), join(scratch, "copy")];
    await withPlan("sparse", [source], {}, async (plan) => {
      expect(plan.dtype).toBe("bf16");
      await executeTransfer(plan, out);
    });
    const loaded = await loadModel(source);
    await exportModel(loaded, copy).finally(() => loaded.checkpoint.close());
    for (const folder of [out, copy]) {
      expect(readConfig(folder)).toMatchObject(kept);
      expect(Object.keys(readConfig(folder))).not.toContain("transformers_version");
      expect(Object.keys(readConfig(folder))).not.toContain("auto_map");
    }
    // The router is new: it is stored as most of the sources are, and norms as theirs.
    const { tensors, close } = await openCheckpoint(out);
    await close();
    expect(tensors.get("model.layers.0.block_sparse_moe.gate.weight")!.dtype).toBe("BF16");
    expect(tensors.get("model.norm.weight")!.dtype).toBe("F32");
  });
});

test("what the base says under names of its own family does not stay", async () => {
  await withScratch(async (scratch) => {
    const more = { attention_bias: false, sliding_window: 64, num_local_experts: 99, router_aux_loss_coef: 5 };
    const source = await writeModel(join(scratch, "source"), { ...base, ...more }, await mixed());
    const out = join(scratch, "out");
    await withPlan("sparse", [source], {}, (plan) => executeTransfer(plan, out));
    const written = readConfig(out);
    expect(written).toMatchObject({ ...kept, model_type: "mixtral", sliding_window: null });
    expect(Object.keys(written)).not.toContain("attention_bias");
    expect(written["num_local_experts"]).not.toBe(99);
    // The base of the rotation is the object's, and not the one beside it.
    expect(written["rope_parameters"]).toEqual({ rope_theta: 10000, rope_type: "default" });
    expect([undefined, 10000]).toContain(written["rope_theta"]);
    const { checkpoint } = await loadModel(out);
    await checkpoint.close();
  });
});
