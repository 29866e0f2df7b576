/** A text that is encoded piece by piece has the ids of the whole, whatever the tokenizer does at the beginning of a text. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeLong } from "../../../runtime/training/corpus/encode-long.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import type { Tokenizer } from "../../../runtime/tokenizer/tokenizer.ts";
import { marked } from "./tokenizers.ts";

const byteLevel = await loadTokenizer("examples/checkpoints/seed");

const pieceByPiece = (tokenizer: Tokenizer, parts: readonly string[], piece: number): readonly number[] =>
  [
    ...encodeLong(
      parts,
      (text) => tokenizer.encode(text),
      (text) => tokenizer.encode(text),
      piece,
    ),
  ].flat();

const words = fc.array(fc.constantFrom("the", "in", "there", " ", "  ", "\n", "\n\n", ".", "x", "never,"), {
  maxLength: 900,
});

describe.each([
  ["bytes", byteLevel],
  ["marks in front of words", marked],
])("a tokenizer of %s", (_, tokenizer) => {
  test("gives the same ids, however the text comes and is cut", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 20, max: 400 }), fc.integer({ min: 1, max: 50 }), (parts, piece, many) => {
        const text = parts.join("");
        const given = Array.from({ length: Math.ceil(text.length / many) }, (_x, i) =>
          text.slice(i * many, (i + 1) * many),
        );
        expect(pieceByPiece(tokenizer, given, piece)).toEqual(tokenizer.encode(text));
      }),
      { numRuns: 60 },
    );
  });

  test("takes real text", () => {
    const text = readFileSync("examples/text/code.txt", "utf8");
    expect(pieceByPiece(tokenizer, [text], 1000)).toEqual(tokenizer.encode(text));
  });
});

test("no character is cut in two", () => {
  const text = "😀".repeat(2000);
  expect(pieceByPiece(byteLevel, [text], 333)).toEqual(byteLevel.encode(text));
});

test("what begins a text is asked for once", () => {
  const begun: string[] = [];
  const first = (text: string): readonly number[] => {
    begun.push(text);
    return [7];
  };
  const ids = [...encodeLong(["a b c ".repeat(400)], first, () => [], 500)];
  expect(begun).toHaveLength(1);
  expect(ids[0]).toEqual([7]);
  expect([...encodeLong([], first, () => [])]).toEqual([[7]]);
});
