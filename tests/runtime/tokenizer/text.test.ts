import { cp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { loadTokens } from "../../../runtime/load/load-tokens.ts";
import type { Tokenizer } from "../../../runtime/tokenizer/tokenizer.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const seed = "examples/checkpoints/seed";
const tokenizer = await loadTokenizer(seed);

function streamAll(from: Tokenizer, ids: readonly number[]): string[] {
  const stream = from.stream();
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

describe("a tokenizer", () => {
  test("knows its special ids and its size", () => {
    expect(tokenizer).toMatchObject({ start: [0], eosIds: [1], vocabularySize: 2048, chatTemplate: null });
  });

  test("gives back any text, and adds no special tokens of its own", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const ids = tokenizer.encode(text);
        return !ids.includes(0) && tokenizer.decode(ids) === text;
      }),
    );
  });

  test("leaves special tokens out where asked, and ids without text everywhere", () => {
    const ids = [0, ...tokenizer.encode("yes"), 1];
    expect(tokenizer.decode(ids)).toBe("<s>yes</s>");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("yes");
    expect(tokenizer.decode([...ids, 2048, 70000], { skipSpecialTokens: true })).toBe("yes");
    expect(tokenizer.decode(Uint32Array.of())).toBe("");
  });

  test("streams the text that decoding all at once would give, for any ids", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2100)), (ids) => {
        expect(streamAll(tokenizer, ids).join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
      }),
      { numRuns: 300 },
    );
  });

  test("streams the spaces between words where the tokenizer drops the one before the first", async () => {
    await withScratch(async (directory) => {
      const vocab = { "▁a": 0, "▁b": 1, "<0xC3>": 2, "<0xA9>": 3, "<unk>": 4 };
      const decoders = [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ];
      const definition = {
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: null,
        post_processor: null,
        decoder: { type: "Sequence", decoders },
        model: { type: "BPE", vocab, merges: [], unk_token: "<unk>", byte_fallback: true },
      };
      await writeFile(join(directory, "tokenizer.json"), JSON.stringify(definition));
      const parts = streamAll(await loadTokenizer(directory), [0, 1, 1, 2, 3, 0]);
      expect(parts).toEqual(["a", " b", " b", "", "é", " a", ""]);
    });
  });

  test("holds a character back until its last byte is there", () => {
    const ids = tokenizer.encode("🜁");
    expect(ids.length).toBeGreaterThan(1);
    const parts = streamAll(tokenizer, ids);
    expect(parts.slice(0, ids.length - 1).join("")).toBe("");
    expect(parts[ids.length - 1]).toBe("🜁");
    expect(streamAll(tokenizer, ids.slice(0, -1)).at(-1)).toContain("\uFFFD");
  });

  test("may take its special ids from any of the files beside it", async () => {
    await withScratch(async (directory) => {
      await cp(seed, directory, { recursive: true });
      const settings = join(directory, "tokenizer_config.json");
      const generation = join(directory, "generation_config.json");
      await writeFile(generation, '{"eos_token_id":[1,7]}');
      await writeFile(settings, '{"bos_token":null,"add_bos_token":true,"chat_template":"{{ x }}"}');
      expect(await loadTokenizer(directory)).toMatchObject({ start: [], eosIds: [1, 7], chatTemplate: "{{ x }}" });
      await writeFile(generation, "{}");
      await writeFile(settings, '{"bos_token":{"content":"</s>"},"add_bos_token":true}');
      expect(await loadTokenizer(directory)).toMatchObject({ start: [1], eosIds: [1] });
      await writeFile(settings, '{"add_bos_token":true}');
      expect((await loadTokenizer(directory)).start).toEqual([0]);
      await writeFile(join(directory, "special_tokens_map.json"), '{"bos_token":"</s>"}');
      expect((await loadTokenizer(directory)).start).toEqual([1]);
      await rm(join(directory, "special_tokens_map.json"));
      await writeFile(join(directory, "config.json"), '{"text_config":{"bos_token_id":5,"eos_token_id":[6,7]}}');
      expect(await loadTokenizer(directory)).toMatchObject({ start: [5], eosIds: [6, 7] });
      await writeFile(join(directory, "special_tokens_map.json"), "{}");
      for (const name of ["tokenizer_config", "special_tokens_map", "generation_config", "config"])
        await rm(join(directory, `${name}.json`));
      expect(await loadTokenizer(directory)).toMatchObject({ start: [], eosIds: [] });
    });
  });

  test("that is missing or broken is an error with the directory's name", async () => {
    await withScratch(async (directory) => {
      await expectFailure(loadTokenizer(directory), "checkpoint/no-tokenizer", directory);
      await writeFile(join(directory, "tokenizer.json"), '{"version":"1.0"}');
      await expectFailure(loadTokenizer(directory), "checkpoint/bad-tokenizer", directory);
      await writeFile(join(directory, "tokenizer.json"), "{");
      await expectFailure(loadTokenizer(directory), "checkpoint/bad-json", directory);
    });
  });
});

describe("a text", () => {
  test.each(["prose", "code", "law", "math"])(
    "of %s begins with the same document as ids and as text",
    async (name) => {
      const text = await loadTokens(`examples/text/${name}.txt`, { tokenizer });
      const ids = await loadTokens(`examples/text/${name}.bin`, { tokenizer });
      expect(ids.length).toBe(65 * 256);
      expect(text[0]).toBe(0);
      const end = text.indexOf(0, 1);
      expect(end).toBeGreaterThan(100);
      expect(ids.subarray(0, end + 1)).toEqual(text.subarray(0, end + 1));
    },
  );

  test("has what the tokenizer puts in front before each document, and nothing for an empty one", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "a.txt");
      await writeFile(path, "one\u001etwo\u001e");
      const expected = [0, ...tokenizer.encode("one"), 0, ...tokenizer.encode("two")];
      expect([...(await loadTokens(path, { tokenizer }))]).toEqual(expected);
    });
  });

  test("as ids is as wide as its vocabulary needs, unless said otherwise", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "a.bin");
      await writeFile(path, Uint8Array.of(5, 0, 6, 0));
      expect([...(await loadTokens(path, { vocabularySize: 65536 }))]).toEqual([5, 6]);
      expect([...(await loadTokens(path, { vocabularySize: 500000 }))]).toEqual([5 + 6 * 65536]);
      expect([...(await loadTokens(path, { format: "uint32" }))]).toEqual([5 + 6 * 65536]);
    });
  });

  test("that does not fit is refused with its name", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "a.bin");
      await expectFailure(loadTokens(path), "checkpoint/unreadable", path);
      await writeFile(path, Uint8Array.of(5, 0, 0, 8));
      await expectFailure(loadTokens(path, { tokenizer }), "checkpoint/bad-tokens", "id 1", "is 2048");
      await writeFile(path, Uint8Array.of(5, 0, 0));
      await expectFailure(loadTokens(path), "checkpoint/bad-tokens", "3 bytes");
      await expectFailure(loadTokens(path, { format: "text" }), "checkpoint/no-tokenizer", path);
      await writeFile(path, Uint8Array.of(0xff));
      await expectFailure(loadTokens(path, { format: "text", tokenizer }), "checkpoint/bad-tokens", "UTF-8");
    });
  });
});
