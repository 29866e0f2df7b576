/** Checkpoints of a model that only its user knows: they load without the files that they were made with. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import { openSafetensors } from "../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../runtime/load/load-model.ts";
import { evaluateLogits } from "../runtime/upcycle/support.ts";
import { maxDifference } from "../support/close.ts";
import { anonymous, moec, temporary } from "./support.ts";

const seed = "examples/checkpoints/seed";
const mine = temporary("mine");

/** Copies of one feed-forward, in a file of its own that another imports. */
const layers = `edition 2026
import { Attention, RMSNorm, SwiGLU } from "std"

layer Twice(D, F, G, R, C, N, eps = 1e-6) {
  norm1 = RMSNorm(D, eps: eps)
  attn  = Attention(D, G, R, C)
  norm2 = RMSNorm(D, eps: eps)
  pair  = N of SwiGLU(D, F)
  forward(x: [T, D]) -> [T, D] {
    h = x + attn(norm1(x))
    return h + mean[N](pair(norm2(h)))
  }
}
`;

const model = `edition 2026
import { Embedding, Linear, Llama, RMSNorm } from "std"
import { Twice } from "./parts/layers"

model Mine(V, L, D, F, G, R, C, N = 2, eps = 1e-6) {
  embed  = Embedding(V -> D)
  blocks = L of Twice(D, F, G, R, C, N, eps: eps)
  norm   = RMSNorm(D, eps: eps)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(norm(x)))
  }
}

map mine: Mine {
  config {
    "mine" <-> model_type
    V      <-> vocab_size
    L      <-> num_hidden_layers
    D      <-> hidden_size
    F      <-> intermediate_size
    G      <-> num_key_value_heads
    G * R  <-> num_attention_heads
    C      <-> head_dim
    N      <-> copies
    eps    <-> rms_norm_eps
  }
  embed.w   <-> "embed"
  blocks[l] <-> "layers.{l}" {
    norm1.w        <-> "norm1"
    attn.q.w       <-> "q"
    attn.k.w       <-> "k"
    attn.v.w       <-> "v"
    attn.o.w       <-> "o"
    norm2.w        <-> "norm2"
    pair[n].gate.w <-> "pair.{n}.gate"
    pair[n].up.w   <-> "pair.{n}.up"
    pair[n].down.w <-> "pair.{n}.down"
  }
  norm.w <-> "norm"
  head.w <-> "head"
}

upcycle twice(src: Llama) -> Mine {
  default = src
  blocks[l].pair[n] = src.blocks[l].mlp
}
`;

beforeAll(async () => {
  const files = temporary("files");
  mkdirSync(join(files, "parts"), { recursive: true });
  writeFileSync(join(files, "parts", "layers.moe"), layers);
  writeFileSync(join(files, "mine.moe"), model);
  const run = await moec("upcycle", `${files}/mine.moe#twice`, "--from", seed, "--out", mine);
  expect(run.err).not.toContain("error");
  expect(run.code).toBe(0);
  rmSync(files, { recursive: true });
});

/** The strings in the header of a checkpoint. */
async function readMetadata(folder: string): Promise<Readonly<Record<string, string>>> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  await file.close();
  return file.metadata;
}

/** A copy whose header and config say something else. */
async function changed(name: string, source: string, config: (text: string) => string = (t) => t): Promise<string> {
  const folder = temporary(name);
  const from = await openSafetensors(join(mine, "model.safetensors"));
  await from.close();
  const bytes = readFileSync(from.path);
  mkdirSync(folder, { recursive: true });
  const header = encodeHeader([...from.tensors.values()], { "moec.source": source });
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([header, bytes.subarray(from.dataStart)]));
  writeFileSync(join(folder, "config.json"), config(readFileSync(join(mine, "config.json"), "utf8")));
  return folder;
}

test("what is embedded are the user's files, and no path of the machine", async () => {
  const { "moec.source": text } = await readMetadata(mine);
  const { entry, map, files } = JSON.parse(text!) as { entry: string; map: string; files: { path: string }[] };
  expect([entry, map, files.map((f) => f.path)]).toEqual(["mine.moe", "mine", ["mine.moe", "parts/layers.moe"]]);
  expect(text).not.toContain(dirname(mine));
});

test("it computes what its source computes", async () => {
  const [made, source] = await Promise.all([mine, seed].map((folder) => loadModel(folder)));
  const ids = [5, 77, 1200, 3, 9, 400, 8, 21];
  const [ours, theirs] = [await evaluateLogits(made!, ids), await evaluateLogits(source!, ids)];
  expect(maxDifference(Float32Array.from(ours), Float32Array.from(theirs))).toBeLessThan(1e-4);
  await Promise.all([made!, source!].map((m) => m.checkpoint.close()));
});

test("commands take it by its folder alone, and what is exported from it again", async () => {
  const inspected = await moec("inspect", mine);
  expect([inspected.code, inspected.err]).toEqual([0, ""]);
  expect(inspected.out).toContain("pair ×2");
  const again = temporary("again");
  expect((await moec("export", mine, "--out", again, "--dtype", "f32")).code).toBe(0);
  expect((await readMetadata(again))["moec.source"]).toBe((await readMetadata(mine))["moec.source"]);
  expect((await moec("diff", mine, again, "--tolerance", "1e-9")).code).toBe(0);
  const text = ["--text", "examples/text/prose.txt", "--context", "32", "--limit", "2", "--json"];
  const [ours, theirs] = [await moec("eval", mine, ...text), await moec("eval", seed, ...text)].map(
    (run) => (JSON.parse(run.out) as { files: { perplexity: number }[] }).files[0]!.perplexity,
  );
  expect(ours).toBeCloseTo(theirs!, 3);
});

test("a model of the library that no class of transformers can hold carries its file", async () => {
  const out = temporary("bam");
  const from = ["seed", "code"].map((name) => `examples/checkpoints/cohere/${name}`);
  expect((await moec("upcycle", "bam", "--from", ...from, "--out", out)).code).toBe(0);
  const path = join(out, "model.safetensors");
  // Another moec does not know its type.
  const bytes = readFileSync(path, "latin1");
  const [known, unknown] = ["bam", "bem"].map((type) => `${type}\\\\\\"       <-> model_type`);
  expect(bytes).toContain(known);
  writeFileSync(
    path,
    bytes.replace(known!, () => unknown!),
    "latin1",
  );
  const config = join(out, "config.json");
  writeFileSync(config, readFileSync(config, "utf8").replace('"bam"', '"bem"'));
  const inspected = await moec("inspect", out);
  expect([inspected.code, inspected.err]).toEqual([0, ""]);
  expect(inspected.out).toContain("BAM");
});

describe("what is wrong with an embedded source is told", () => {
  const source = (text: string, path = "mine.moe"): string =>
    JSON.stringify({ entry: "mine.moe", map: "mine", files: [{ path, text }] });

  test.each([
    ["no-json", "{", "checkpoint/bad-source"],
    ["no-files", "{}", "checkpoint/bad-source"],
    ["no-entry", source(model, "other.moe"), "checkpoint/bad-source"],
    ["no-map", source("edition 2026\n"), "checkpoint/bad-source"],
    ["too-long", source(" ".repeat(1_100_000)), "checkpoint/bad-source"],
    ["too-deep", source(`edition 2026\nfn f(x = ${"(".repeat(200_000)}`), null],
    ["a-file-of-the-machine", source(model.replace("./parts/layers", "../../../examples/01-router")), "name/no-module"],
    ["bad-text", source(model.replace("norm(x)", "nrom(x)")), null],
  ])("%s", async (name, text, code) => {
    const run = await moec("inspect", await changed(name, text));
    expect(run.code).toBe(1);
    expect(run.out).toBe("");
    if (code !== null) expect(run.err).toContain(`error[${code}]`);
    else expect(run.err).toMatch(/^error\[/);
  });

  test("one that is not there leaves the family unknown", async () => {
    const folder = temporary("unknown");
    await changed("unknown", "");
    const header = encodeHeader([{ name: "a", dtype: "F32", shape: [1] }], {});
    writeFileSync(join(folder, "model.safetensors"), Buffer.concat([header, new Uint8Array(4)]));
    const run = await moec("inspect", folder);
    expect(anonymous(run.err)).toContain("error[map/unknown-family]: no map reads checkpoints of type `mine`");
  });
});
