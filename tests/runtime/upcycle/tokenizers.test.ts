/** Tokenizers are the same when they give the same ids; the first thing that makes them differ is named. */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkTokenizers, findDifference } from "../../../runtime/upcycle/tokenizers.ts";
import { withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS } from "./support.ts";

interface Definition {
  readonly added_tokens: readonly Record<string, unknown>[];
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly (readonly string[])[] };
  readonly pre_tokenizer: Readonly<Record<string, unknown>>;
}

const path = join(CHECKPOINTS[0]!, "tokenizer.json");
const own = JSON.parse(await readFile(path, "utf8")) as Definition & Record<string, unknown>;
const model = (change: object): object => ({ ...own, model: { ...own.model, ...change } });
const { vocab, merges } = own.model;
const pairs = merges.map(([a, b]) => `${a} ${b}`);
const [first, second] = Object.keys(vocab).slice(50);

describe("is no difference", () => {
  test.each([
    ["merges as text", model({ merges: pairs })],
    ["padding and truncation", { ...own, padding: { strategy: "BatchLongest" }, truncation: { max_length: 512 } }],
    ["a version", { ...own, version: "2.0" }],
    ["a decoder", { ...own, decoder: { type: "ByteLevel" } }],
    ["another order of tokens", model({ vocab: Object.fromEntries(Object.entries(vocab).reverse()) })],
    ["settings that are as usual", model({ byte_fallback: undefined, fuse_unk: null, ignore_merges: false })],
    ["offsets of a step", { ...own, pre_tokenizer: { ...own.pre_tokenizer, trim_offsets: false } }],
    ["a sequence of one step", { ...own, pre_tokenizer: { type: "Sequence", pretokenizers: [own.pre_tokenizer] } }],
    ["a sequence of none", { ...own, normalizer: { type: "Sequence", normalizers: [] } }],
    ["who is called special", { ...own, added_tokens: own.added_tokens.map((t) => ({ ...t, special: false })) }],
  ])("%s", (_, other) => expect(findDifference(own, other as Record<string, unknown>)).toBeNull());
});

describe("is a difference, and named", () => {
  const swapped = { ...vocab, [first!]: vocab[second!], [second!]: vocab[first!] };
  test.each([
    [
      "two tokens that changed places",
      model({ vocab: swapped }),
      /^id \d+ is `".*"` in the first and `".*"` in the second$/,
    ],
    [
      "a token that was added",
      { ...own, added_tokens: [...own.added_tokens, { id: 2048, content: "<x>" }] },
      /^id 2048 is no token in the first and `"<x>"`/,
    ],
    ["a merge", model({ merges: [merges[1], merges[0], ...merges.slice(2)] }), /^merge 0 is /],
    ["a merge that is missing", model({ merges: pairs.slice(0, -1) }), /^merge \d+ is .* not there in the second$/],
    ["another kind", model({ type: "WordPiece" }), /^the kind is `"BPE"` in the first and `"WordPiece"`/],
    ["bytes for unknown characters", model({ byte_fallback: true }), /^`byte_fallback` of `model` is `false`/],
    [
      "a normaliser",
      { ...own, normalizer: { type: "NFC" } },
      /^`normalizer` is `null` in the first and `\{"type":"NFC"\}`/,
    ],
    [
      "a space in front",
      { ...own, pre_tokenizer: { ...own.pre_tokenizer, add_prefix_space: true } },
      /^`add_prefix_space` of `pre_tokenizer`/,
    ],
    [
      "how a token is found",
      { ...own, added_tokens: own.added_tokens.map((t) => ({ ...t, lstrip: true })) },
      /^`lstrip` of `<\/s>` of `added_tokens`/,
    ],
  ])("%s", (_, other, said) => {
    expect(findDifference(own, other as Record<string, unknown>)).toMatch(said);
    expect(findDifference(other as Record<string, unknown>, own)).not.toBeNull();
  });
});

test("where texts begin otherwise, the result does as the first, and that is said", async () => {
  await withScratch(async (folder) => {
    await cp(CHECKPOINTS[0]!, folder, { recursive: true });
    expect(await checkTokenizers([...CHECKPOINTS, folder])).toEqual([]);
    const template = {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
    };
    // The same by other means.
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...own, post_processor: template }));
    await writeFile(join(folder, "tokenizer_config.json"), "{}");
    expect(await checkTokenizers([CHECKPOINTS[0]!, folder])).toEqual([]);
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(own));
    const [note, ...more] = await checkTokenizers([CHECKPOINTS[0]!, folder]);
    expect(more).toEqual([]);
    expect(note).toMatchObject({
      severity: "warning",
      message: expect.stringContaining("begin with id 0 for") as string,
    });
    await rm(join(folder, "tokenizer.json"));
    expect(await checkTokenizers([CHECKPOINTS[0]!, folder])).toEqual([]);
  });
});
