/** What is noted about a checkpoint is true of its bytes and of those of its sources. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import type { PlaceRecord, Provenance } from "../../../runtime/upcycle/provenance.ts";
import { readProvenance, traceOrigin } from "../../../runtime/upcycle/why.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, count, SET_ROUTER, withPlan } from "./support.ts";

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const readRange = (folder: string, { file, bytes }: Pick<PlaceRecord, "file" | "bytes">): Buffer =>
  readFileSync(join(folder, file)).subarray(...bytes);

/** Every copy of the checkpoint, with the source's bytes. */
function checkCopies(folder: string, { sources, tensors }: Provenance): number {
  let copies = 0;
  for (const [name, record] of Object.entries(tensors)) {
    expect(hash(readRange(folder, record)), name).toBe(record.sha256);
    const [part] = record.parts;
    const [term] = part!.terms;
    if (!part!.copy || record.parts.length > 1 || !("from" in term!)) continue;
    const [place] = term!.from;
    expect(place!.whole).toBe(true);
    expect(hash(readRange(sources[term!.source]!.path, place!)), name).toBe(record.sha256);
    copies++;
  }
  return copies;
}

test("what is made of others says by what, and of which", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await withPlan("slerp", CHECKPOINTS.slice(0, 2), {}, (plan) => executeTransfer(plan, out));
    const { tensors, sources } = await readProvenance(out);
    const [term] = tensors["model.norm.weight"]!.parts[0]!.terms;
    expect(term).toMatchObject({ made: "arc", of: [{ source: 0, parameter: "norm.w" }, { source: 1 }] });
    expect(sources.map((s) => s.name)).toEqual(["a", "b"]);
  });
});

test("hashes are those of the bytes, and a copy has its source's", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    const sharded = { maxShardBytes: 1_000_000 };
    await withPlan("btx", CHECKPOINTS, {}, (plan) => executeTransfer(plan, out, sharded));
    const provenance = await readProvenance(out);
    expect(checkCopies(out, provenance)).toBe(4 * 4 * 3);
    expect(provenance.upcycling).toMatchObject({ name: "btx", file: "std/upcycle/btx.moe" });
    expect(provenance.upcycling!.text).toContain("default = mean[M](src)");
    expect(provenance.sources.map((s) => s.name)).toEqual(["src[0]", "src[1]", "src[2]", "src[3]"]);
    const average = provenance.tensors["model.norm.weight"]!.parts[0]!;
    expect(average.terms.map((t) => t.weight)).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(provenance.rules[average.rule]).toEqual({
      file: "std/upcycle/btx.moe",
      line: 6,
      text: "default = mean[M](src)",
    });
  });
});

test("one expert of a bank, a layer, a tensor, and one given on the side are found", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await withPlan("btx", CHECKPOINTS, { overrides: [SET_ROUTER], options: new Map([["K", count(1)]]) }, (plan) =>
      executeTransfer(plan, out),
    );
    const provenance = await readProvenance(out);
    expect(provenance.upcycling!.parameters).toEqual({ K: 1 });
    const trace = async (path: string) => traceOrigin(out, provenance, path, undefined);
    const name = "model.layers.2.block_sparse_moe.experts.3.w2.weight";
    const [expert] = await trace("blocks[2].ffn.experts[3].down.w");
    expect(expert).toMatchObject({ tensor: name });
    expect(await trace(name)).toEqual([expert]);
    expect(expert!.parts[0]!.terms).toMatchObject([
      { source: 3, parameter: "blocks[2].mlp.down.w", from: [{ tensor: "model.layers.2.mlp.down_proj.weight" }] },
    ]);
    expect(await trace("blocks[2].ffn.experts[3]")).toHaveLength(3);
    expect(await trace("blocks[2].ffn")).toHaveLength(13);
    const [router] = await trace("blocks[2].ffn.pick.score.w");
    expect(router!.parts[0]!.terms).toMatchObject([
      { source: 4, from: [{ tensor: "router", file: "golden.safetensors" }] },
    ]);
    expect(provenance.sources[4]!.name).toBe("--set");
    await expectFailure(trace("blocks[2].fn"), "map/no-member", "ffn");
    await expectFailure(readProvenance(CHECKPOINTS[0]!), "checkpoint/no-provenance", "seed");
  });
});
