/** The commands that run a checkpoint, held to reference values. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { toFloat32 } from "../../runtime/checkpoint/data-type.ts";
import { openCheckpoint, openSafetensors } from "../../runtime/load/open-checkpoint.ts";
import { moec, temporary, writeFile } from "./support.ts";

const llama = "tests/fixtures/families/llama";
const seed = "examples/checkpoints/seed";

describe("run", () => {
  test("writes the logits that transformers computes", async () => {
    const golden = await openCheckpoint(`${llama}/golden.safetensors`);
    const [ids, expected] = await Promise.all([golden.toFloat32("ids.1"), golden.toFloat32("logits.1")]);
    await golden.close();
    const rows = [ids.subarray(0, 40), ids.subarray(40)].map((row) => [...row]);
    const out = temporary("logits.safetensors");
    const run = await moec("run", llama, "--ids", writeFile("ids.json", JSON.stringify(rows)), "--logits", out);
    expect(run).toMatchObject({ code: 0, out: "" });
    const file = await openSafetensors(out);
    const tensor = file.tensors.get("logits")!;
    const logits = toFloat32(tensor.dtype, await file.read("logits"));
    await file.close();
    expect(tensor.shape).toEqual([2, 40, 96]);
    const worst = logits.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0);
    expect(worst).toBeLessThan(1e-4);
  });

  test.each([
    ["what is not JSON", "[[1, 2", "it is not JSON"],
    ["what is no list", '{"ids": [1]}', "not a list of lists"],
    ["a flat list", "[1, 2]", "entry 0 is not a list"],
    ["ragged lists", "[[1, 2], [3]]", "list 1 has 1 id, and list 0 has 2"],
    ["fractions", "[[1, 2.5]]", "id 1 of list 0 is 2.5"],
    ["ids out of range", "[[1, 96]]", "the vocabulary has 96"],
    ["negative ids", "[[1, -1]]", "id 1 of list 0 is -1"],
    ["more tokens than the model takes", JSON.stringify([Array.from({ length: 5000 }, () => 1)]), "are more than the"],
  ])("refuses %s and writes nothing", async (name, text, words) => {
    const out = temporary(`${name}.safetensors`);
    const run = await moec("run", llama, "--ids", writeFile("wrong.json", text), "--logits", out);
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain(words);
    expect(existsSync(out)).toBe(false);
  });

  test("a folder that is not there is told, and leaves nothing behind", async () => {
    const ids = writeFile("good.json", "[[1, 2]]");
    const run = await moec("run", llama, "--ids", ids, "--logits", temporary("nowhere/logits.safetensors"));
    expect(run.code).toBe(1);
    expect(run.err).toContain("cannot write");
  });
});

describe("eval", () => {
  const reference = JSON.parse(readFileSync("tests/fixtures/mix/btx/perplexity.json", "utf8")) as Readonly<
    Record<string, Readonly<Record<string, number>>>
  >;

  test("measures the perplexities that transformers measures", async () => {
    const files = ["law", "math"].map((name) => `examples/text/${name}.bin`);
    const run = await moec("eval", seed, "--json", "--limit", "64", "--tokens", ...files);
    expect(run.code).toBe(0);
    const report = JSON.parse(run.out) as { files: { sequences: number; tokens: number; perplexity: number }[] };
    expect(report.files.map((f) => [f.sequences, f.tokens])).toEqual([
      [64, 64 * 256],
      [64, 64 * 256],
    ]);
    const [law, math] = report.files;
    expect(law!.perplexity).toBeCloseTo(reference["llama-seed"]!["law"]!, 2);
    expect(math!.perplexity).toBeCloseTo(reference["llama-seed"]!["math"]!, 2);
  });

  test("texts and their ids measure alike", async () => {
    const run = await moec(
      "eval",
      seed,
      "--json",
      "--limit",
      "4",
      "--text",
      "examples/text/math.txt",
      "--tokens",
      "examples/text/math.bin",
    );
    const [text, tokens] = (JSON.parse(run.out) as { files: { perplexity: number }[] }).files;
    expect(text!.perplexity).toBeCloseTo(tokens!.perplexity, 4);
  });

  test.each([
    ["no file", [], "there is nothing to measure"],
    ["a file that is not there", ["--tokens", "nothing.bin", "--context", "8"], "cannot read"],
    ["sequences longer than the model takes", ["--tokens", "nothing.bin"], "are more than the 128"],
    ["ids of another model", ["--tokens", `${llama}/golden.safetensors`, "--context", "8"], "token"],
  ])("refuses %s", async (_, args, words) => {
    const run = await moec("eval", llama, ...args);
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain(words);
  });
});

describe("generate", () => {
  test("the same seed gives the same text, another seed another", async () => {
    const generate = async (chosen: string) =>
      (
        await moec(
          "generate",
          seed,
          "--prompt",
          "The licence",
          "--max-tokens",
          "12",
          "--temperature",
          "1",
          "--seed",
          chosen,
        )
      ).out;
    const [first, again, other] = [await generate("3"), await generate("3"), await generate("4")];
    expect(first.length).toBeGreaterThan(1);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  test("text goes to stdout, what it took to stderr", async () => {
    const run = await moec("generate", seed, "--prompt", "The licence", "--max-tokens", "8");
    expect(run.code).toBe(0);
    expect(run.out).not.toContain("tokens/s");
    expect(run.err).toContain("first token after");
  });

  test("--json prints one document with the ids that stand for the text", async () => {
    const run = await moec("generate", seed, "--json", "--prompt", "The licence", "--max-tokens", "8");
    const { text, ids, stats } = JSON.parse(run.out) as { text: string; ids: number[]; stats: Record<string, number> };
    expect(ids).toHaveLength(8);
    expect(stats).toMatchObject({ tokens: 8 });
    const plain = await moec("generate", seed, "--prompt", "The licence", "--max-tokens", "8");
    expect(plain.out).toBe(`${text}\n`);
  });

  test.each([
    ["a folder that is not there", "nowhere", ["--prompt", "x"], "there is no folder nowhere"],
    ["a checkpoint without a tokenizer", llama, ["--prompt", "x"], "has no `tokenizer.json`"],
    ["more tokens than the model takes", seed, ["--prompt", "x", "--max-tokens", "100000"], "are more than the"],
    ["a probability over 1", seed, ["--prompt", "x", "--top-p", "2"], "from 0 to 1"],
    [
      "an adapter that is not there",
      seed,
      ["--prompt", "x", "--adapter", "nonesuch"],
      "no adapter is named `nonesuch`",
    ],
  ])("refuses %s", async (_, folder, args, words) => {
    const run = await moec("generate", folder, ...args);
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain(words);
  });
});

test("profile tells every kernel of a prompt and of a token", async () => {
  const run = await moec("profile", llama, "--json", "--prompt-tokens", "16", "--tokens", "1");
  expect(run.code).toBe(0);
  interface Profiled {
    readonly sizes: { readonly T: number };
    readonly rows: readonly { readonly label: string; readonly share: number }[];
  }
  const { prefill, decode, layers } = JSON.parse(run.out) as {
    prefill: Profiled;
    decode: Profiled;
    layers: { part: string; prefill: number; decode: number; hasExperts: boolean; keepsState: boolean }[];
  };
  expect(layers.find((l) => l.part === "attn")).toMatchObject({ hasExperts: false, keepsState: true });
  expect(layers.every((l) => l.prefill + l.decode > 0)).toBe(true);
  expect([prefill.sizes.T, decode.sizes.T]).toEqual([16, 1]);
  for (const { rows } of [prefill, decode]) {
    expect(rows.map((row) => row.label)).toContain("head");
    expect(rows.reduce((sum, row) => sum + row.share, 0)).toBeCloseTo(1, 6);
  }
});

test("the library's own tests hold on the GPU", async () => {
  const run = await moec("test", "--gpu", "--std", "--json");
  const { ok, tests } = JSON.parse(run.out) as { ok: boolean; tests: { file: string; ok: boolean }[] };
  expect(tests.filter((t) => !t.ok)).toEqual([]);
  // Some look ahead in time in all their results, and have no kernels.
  expect(tests.filter((t) => t.file.includes(" on ")).length).toBeGreaterThan(tests.length / 3);
  expect(ok).toBe(true);
});

test("a wrong expectation fails on the GPU with both kinds of kernels", async () => {
  const path = writeFile(
    "five.moe",
    'edition 2026\n\nlayer Twice(D) {\n  forward(x: [T, D]) -> [T, D] = x * 2\n}\n\ntest "five" for Twice(D: 1) {\n  x = [[2]]\n  expect out == [[5]]\n}\n',
  );
  const run = await moec("test", "--gpu", path);
  expect(run.code).toBe(1);
  expect(run.err).toContain("is 4, not 5; all: [4] (kernels for prefill)");
  expect(run.err).toContain("(kernels for decode)");
});
