/** Tokenizers of strangers: what is in tokenizer.json is looked at before it is used, and its patterns end in time. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MoeError } from "../../../grammar/index.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { limitTime } from "../../../runtime/load/time-limit.ts";
import { TimeIsOver } from "../../../runtime/tokenizer/limit.ts";
import { tokenizers } from "../../fuzz/tokenizers.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

type Json = Record<string, unknown>;
const sound = (make: string): Json => structuredClone(tokenizers[make]) as Json;

async function load(definition: Json): Promise<Awaited<ReturnType<typeof loadTokenizer>>> {
  return withScratch(async (directory) => {
    await writeFile(join(directory, "tokenizer.json"), JSON.stringify(definition));
    return loadTokenizer(directory);
  });
}

function thrown(run: () => unknown): MoeError {
  try {
    run();
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test.each(Object.keys(tokenizers))("a sound tokenizer is taken as it is: %s", async (make) => {
  const tokenizer = await load(sound(make));
  const ids = tokenizer.encode("ab cd");
  expect(ids.length).toBeGreaterThan(0);
  expect(tokenizer.decode(ids)).toContain("ab");
});

/** A key's path in tokenizer.json, what is written there, and what the message must name. */
const wrong: readonly (readonly [make: string, path: readonly (string | number)[], value: unknown, named: string])[] = [
  ["bytes", ["added_tokens", 2, "id"], 225_000_000, "`added_tokens[2].id`"],
  ["bytes", ["added_tokens", 0, "id"], -1, "`added_tokens[0].id`"],
  ["bytes", ["added_tokens", 1, "id"], 1.5, "`added_tokens[1].id`"],
  ["bytes", ["added_tokens", 1, "content"], "", "`added_tokens[1].content`"],
  ["bytes", ["added_tokens"], { a: 1 }, "`added_tokens`"],
  ["bytes", ["model", "vocab", "ab"], 4e9, '`model.vocab["ab"]`'],
  ["bytes", ["model", "vocab", "ab"], "7", '`model.vocab["ab"]`'],
  ["bytes", ["model", "merges", 1], "cd", "`model.merges[1]`"],
  ["bytes", ["model", "merges", 1], ["c"], "`model.merges[1]`"],
  ["bytes", ["model", "merges"], null, "`model.merges`"],
  ["bytes", ["model"], null, "`model`"],
  ["unigram", ["model", "vocab", 3, 1], "0", "`model.vocab[3]`"],
  ["unigram", ["model", "unk_id"], 200, "`model.unk_id`"],
  ["unigram", ["model", "vocab"], { a: 0 }, "`model.vocab`"],
  ["words", ["model", "vocab"], [["a", 0]], "`model.vocab`"],
  ["split", ["pre_tokenizer", "pretokenizers", 0, "pattern"], {}, "`pre_tokenizer.pretokenizers[0].pattern.String`"],
  ["split", ["pre_tokenizer", "pretokenizers", 0, "pattern"], null, "`pre_tokenizer.pretokenizers[0].pattern`"],
  ["split", ["pre_tokenizer", "pretokenizers", 1], { type: "FixedLength", length: 0 }, "pretokenizers[1].length`"],
  ["split", ["pre_tokenizer", "pretokenizers", 1], 7, "pretokenizers[1]`"],
  [
    "pieces",
    ["post_processor", "single", 0],
    { SpecialToken: { id: 0 } },
    "`post_processor.single[0].SpecialToken.id`",
  ],
  ["pieces", ["decoder", "decoders", 3, "start"], -1, "`decoder.decoders[3].start`"],
  ["words", ["post_processor", "sep"], null, "`post_processor.sep`"],
];

test.each(wrong)("what cannot be meant is refused where it stands: %s, %j = %j", async (make, path, value, named) => {
  const definition = sound(make);
  const holder = path.slice(0, -1).reduce<Json>((inside, key) => inside[key] as Json, definition);
  holder[path.at(-1)!] = value;
  await expectFailure(load(definition), "checkpoint/bad-tokenizer", named, "tokenizer.json");
});

describe("a text", () => {
  test("is not tried for ever by a pattern that has no end: the pattern is named, and its file", async () => {
    const definition = sound("split");
    const steps = (definition["pre_tokenizer"] as { pretokenizers: Json[] }).pretokenizers;
    steps[0]!["pattern"] = { Regex: "(a+)+$" };
    const tokenizer = await load(definition);
    expect(tokenizer.encode("ab")).toEqual(tokenizer.encode("ab"));
    const { diagnostics } = thrown(() => tokenizer.encode(`${"a".repeat(60)}!`));
    expect(diagnostics[0]).toMatchObject({
      code: "checkpoint/slow-tokenizer",
      message: expect.stringMatching(/`pre_tokenizer.pretokenizers\[0\]` of `.*tokenizer.json`.* 61 characters/),
      notes: ["its pattern is (a+)+$"],
    });
  });

  test("does not grow beyond all memory by replacements one behind the other", async () => {
    const definition = sound("pieces");
    const twice = { type: "Replace", pattern: { String: "a" }, content: "aa" };
    definition["normalizer"] = { type: "Sequence", normalizers: Array.from({ length: 40 }, () => twice) };
    const tokenizer = await load(definition);
    const { message } = thrown(() => tokenizer.encode("aaaa"));
    expect(message).toMatch(/checkpoint\/bad-tokenizer: `normalizer.normalizers\[\d+\]` of .* many times longer/);
  });

  test("without tokens for it is refused, not given ids that are none", async () => {
    const definition = sound("words");
    (definition["model"] as Json)["unk_token"] = "[NONE]";
    const tokenizer = await load(definition);
    expect(thrown(() => tokenizer.encode("zzz")).message).toMatch(/bad-tokenizer: `.*` has no id for "\[NONE\]"/);
  });
});

describe("code under a limit of time", () => {
  test("gives what it gives, and throws what it throws", () => {
    expect(limitTime(60_000, () => [1, 2])).toEqual([1, 2]);
    expect(() => limitTime(60_000, () => JSON.parse("{"))).toThrow(SyntaxError);
    expect(limitTime(60_000, () => limitTime(60_000, () => "inner"))).toBe("inner");
  });

  test("is ended in the middle of a regular expression and of a loop, and cannot catch that itself", () => {
    const within = (run: () => unknown) => () => limitTime(200, run);
    expect(within(() => /(a+)+$/.test(`${"a".repeat(60)}!`))).toThrow(TimeIsOver);
    expect(
      within(() => {
        for (;;)
          try {
            for (;;);
          } catch {}
      }),
    ).toThrow(TimeIsOver);
    expect(limitTime(60_000, () => "and the next runs")).toBe("and the next runs");
  });
});
