/** `moec diff` and `moec why`: what they find, and how they say it. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openSafetensors } from "../../runtime/load/open-checkpoint.ts";
import { moec, temporary } from "./support.ts";

const families = "tests/fixtures/families";
const seed = "examples/checkpoints/seed";

interface Difference {
  readonly same: boolean;
  readonly groups: readonly { readonly path: string; readonly count: number; readonly same: number }[];
  readonly paths: readonly {
    readonly path: string;
    readonly same: boolean;
    readonly difference: { readonly largest: number; readonly relative: number; readonly cosine: number } | null;
  }[];
}

async function diff(...args: readonly string[]): Promise<Difference & { readonly code: number }> {
  const run = await moec("diff", ...args, "--json");
  expect(run.err).toBe("");
  return { ...(JSON.parse(run.out) as Difference), code: run.code };
}

test("layouts do not matter", async () => {
  const run = await moec("diff", `${families}/mixtral`, `${families}/mixtral_fused`);
  expect(run).toEqual({ code: 0, out: "the same: 23 parameters\n", err: "" });
});

test("one element that differs is found, with how much", async () => {
  const folder = temporary("changed");
  cpSync(seed, folder, { recursive: true });
  const path = `${folder}/model.safetensors`;
  const name = "model.layers.2.mlp.up_proj.weight";
  const file = await openSafetensors(path);
  await file.close();
  const bytes = readFileSync(path);
  const at = file.dataStart + file.tensors.get(name)!.offset + 2 * 1000;
  const before = new Float32Array(Uint32Array.of(bytes.readUInt16LE(at) << 16).buffer)[0]!;
  bytes.writeUInt16LE(0x4040, at); // 3
  writeFileSync(path, bytes);
  const { code, same, paths, groups } = await diff(seed, folder);
  expect([code, same]).toEqual([1, false]);
  const [only, ...others] = paths.filter((p) => !p.same);
  expect(others).toEqual([]);
  expect(only!.path).toBe("blocks[2].mlp.up.w");
  expect(only!.difference!.largest).toBeCloseTo(3 - before, 6);
  const values = await openSafetensors(`${seed}/model.safetensors`);
  const stored = new Uint16Array(new Uint8Array(await values.read(name)).buffer);
  await values.close();
  const floats = [...new Float32Array(Uint32Array.from(stored, (x) => x << 16).buffer)];
  const norm = Math.hypot(...floats);
  expect(only!.difference!.relative).toBeCloseTo((3 - before) / norm, 6);
  const other = floats.with(1000, 3);
  const product = floats.reduce((sum, x, i) => sum + x * other[i]!, 0);
  expect(only!.difference!.cosine).toBeCloseTo(product / norm / Math.hypot(...other), 6);
  expect(groups.find((g) => g.path === "blocks[].mlp.up.w")).toMatchObject({ count: 4, same: 3 });
  expect((await diff(seed, folder, "--tolerance", "3.5")).code).toBe(0);
});

test("what only one has, and what is stored otherwise, is said", async () => {
  const sharded = await moec("diff", `${families}/mixtral`, `${families}/mixtral_bf16_sharded`);
  expect(sharded.code).toBe(1);
  expect(sharded.out).toContain("of other dtype");
  const other = await moec("diff", `${families}/llama`, `${families}/mixtral`);
  expect(other.code).toBe(1);
  expect(other.out).toMatch(/^blocks\[\]\.mlp\.up\.w +x2 +only in a$/m);
  expect(other.out).toMatch(/^blocks\[\]\.ffn\.experts\.up\.w +x2 +only in b$/m);
});

test("why: an expert, an average and a router", async () => {
  const out = temporary("mixture");
  const made = await moec("upcycle", "btx", "--from", seed, "examples/checkpoints/code", "--out", out);
  expect(made.code).toBe(0);
  const run = await moec("why", out, "blocks[3].ffn.experts[1].up.w");
  expect(run.out).toMatchInlineSnapshot(`
    "model.layers.3.block_sparse_moe.experts.1.w3.weight
      stored   bf16 [384, 128] in model.safetensors, bytes 3090552 to 3188856 (96.0 KiB)
      sha256   38defaaed949cb8bb95f807faaa725db15bb82967613bf8a778952f4aeb5d8f0
      is       blocks[3].ffn.experts.up.w, elements 49152 to 98304
      by       experts[n] = src[n].blocks[l].mlp   (std/upcycle/btx.moe:8)
      copied, byte for byte, from
        src[1].blocks[3].mlp.up.w, of examples/checkpoints/code
          model.layers.3.mlp.up_proj.weight in model.safetensors, bytes 2430792 to 2529096 (96.0 KiB)
    "
  `);
  expect((await moec("why", out, "blocks[0].ffn.pick.score.w")).out).toContain("normal(std: 0.02, seed: 1)");
  const json = await moec("why", out, "blocks[1].attn.q.w", "--json");
  const { tensors } = JSON.parse(json.out) as { tensors: { parts: { terms: { source: { name: string } }[] }[] }[] };
  expect(tensors[0]!.parts[0]!.terms.map((t) => t.source.name)).toEqual(["src[0]", "src[1]"]);
  const none = await moec("why", seed, "embed.w");
  expect([none.code, none.err.split("\n")[0]]).toEqual([
    1,
    "error[checkpoint/no-provenance]: `examples/checkpoints/seed` has no `moec.provenance.json`",
  ]);
});
