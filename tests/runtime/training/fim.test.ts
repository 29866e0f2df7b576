/** Fill-in-the-middle: nothing of a text is lost or moved but its middle, parts fit, chance follows from the seed. */
import fc from "fast-check";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openData, type DataOptions } from "../../../runtime/training/corpus/open-data.ts";
import { findFimIds, isRewritten, rewriteDocument, type Rewriting } from "../../../runtime/training/corpus/fim.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import type { Tokenizer } from "../../../runtime/tokenizer/tokenizer.ts";
import { expectFailure, MEMORY, withScratch } from "../checkpoint/scratch.ts";
import { marked } from "./tokenizers.ts";

const SEED = "examples/checkpoints/seed";
const plain = await loadTokenizer(SEED);
const [PREFIX, SUFFIX, MIDDLE, START, END] = [9001, 9002, 9003, 9004, 9005];

const howWith = (tokenizer: Tokenizer, more: Partial<Rewriting> = {}): Rewriting => ({
  ids: [PREFIX, SUFFIX, MIDDLE],
  marks: { start: [START], end: END },
  encode: tokenizer.encode,
  most: 40,
  fim: { rate: 1, spm: 0.5, tokens: null },
  seed: 3,
  ...more,
});

/** The text of a part, put together again as its tokens say. */
function textOf(ids: readonly number[], tokenizer: Tokenizer): string {
  expect([ids[0], ids[1], ids.at(-1)]).toEqual([START, PREFIX, END]);
  const [suffixAt, middleAt] = [ids.indexOf(SUFFIX), ids.indexOf(MIDDLE)];
  // A first word has a mark of its own where tokenizers mark words; behind another text it has none.
  const decode = (from: number, to: number): string => {
    const front = tokenizer.encode("a.");
    return tokenizer.decode([...front, ...ids.slice(from, to)]).slice(tokenizer.decode(front).length);
  };
  const suffix = decode(suffixAt + 1, middleAt);
  return suffixAt === 2 ? decode(middleAt + 1, -1) + suffix : decode(2, suffixAt) + decode(middleAt + 1, -1) + suffix;
}

const characters = fc.constantFrom(..."abc the in.,\n  ", "Ünd", "😀", "漢");
const words = fc.array(fc.constantFrom(..."abc the in.,\n  "), { maxLength: 300 });

describe.each([
  ["bytes", plain, fc.array(characters, { maxLength: 300 })],
  ["marks in front of words", marked, words],
])("a tokenizer of %s", (_, tokenizer, letters) => {
  test("gives the text back, part by part, and no part is longer than a sequence", () => {
    fc.assert(
      fc.property(letters, fc.nat(), fc.nat(), (parts, document, seed) => {
        const text = parts.join("");
        const made = [...rewriteDocument(text, document, howWith(tokenizer, { seed }))];
        expect(made.map((ids) => textOf(ids, tokenizer)).join("")).toBe(text);
        expect(Math.max(0, ...made.map((ids) => ids.length))).toBeLessThanOrEqual(40);
      }),
      { numRuns: 60 },
    );
  });
});

test("both orders come as often as they should, and cuts are anywhere", () => {
  const text = "0123456789".repeat(2);
  const made = Array.from({ length: 400 }, (_, n) => [
    ...rewriteDocument(text, n, howWith(plain, { fim: { rate: 1, spm: 0.25, tokens: null } })),
  ]).flat();
  const spm = made.filter((ids) => ids[2] === SUFFIX && ids.indexOf(MIDDLE) > 3).length / made.length;
  expect(Math.abs(spm - 0.25)).toBeLessThan(0.08);
  expect(new Set(made.map((ids) => ids.indexOf(MIDDLE))).size).toBeGreaterThan(5);
});

test("documents are chosen by the seed and their number, as many as the rate says", () => {
  const chosen = (seed: number, rate: number): readonly number[] =>
    Array.from({ length: 1000 }, (_, n) => n).filter((n) =>
      isRewritten(howWith(plain, { seed, fim: { rate, spm: 0, tokens: null } }), n),
    );
  expect(chosen(1, 0)).toEqual([]);
  expect(chosen(1, 1)).toHaveLength(1000);
  expect(Math.abs(chosen(1, 0.3).length - 300)).toBeLessThan(50);
  expect(chosen(1, 0.3)).toEqual(chosen(1, 0.3));
  expect(chosen(1, 0.3)).not.toEqual(chosen(2, 0.3));
});

/** The seed's tokenizer with three tokens more, and what a model with it would take. */
async function withTokens(names: readonly string[], body: (folder: string) => Promise<void>): Promise<void> {
  await withScratch(async (folder) => {
    await cp(SEED, folder, { recursive: true });
    const path = join(folder, "tokenizer.json");
    const definition = JSON.parse(await readFile(path, "utf8")) as { added_tokens: object[]; model: { vocab: object } };
    const added = names.map((content, i) => ({ ...definition.added_tokens[0], id: 2048 + i, content }));
    const more = { ...definition, added_tokens: [...definition.added_tokens, ...added] };
    await writeFile(path, JSON.stringify(more));
    await body(folder);
  }, MEMORY);
}

describe("the tokens", () => {
  test("are those that the tokenizer has, or that are named", () =>
    withTokens(["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<m>"], async (folder) => {
      const tokenizer = await loadTokenizer(folder);
      expect(findFimIds(tokenizer, null)).toEqual([2048, 2049, 2050]);
      expect(findFimIds(tokenizer, ["<fim_suffix>", "<s>", "<m>"])).toEqual([2049, 0, 2051]);
    }));

  test("are missed with what was looked for", async () => {
    const find = (named: readonly [string, string, string] | null) => async (): Promise<unknown> =>
      findFimIds(plain, named);
    await expectFailure(find(null)(), "train/no-fim-token", "has no tokens for fill-in-the-middle", "<fim_prefix>");
    await expectFailure(find(["<s>", "<suf>", "<mid>"])(), "train/no-fim-token", "no single token `<suf>`, `<mid>`");
  });
});

describe("a source", () => {
  const optionsOf = (folder: string, text: string, more: Partial<DataOptions> = {}): DataOptions => ({
    sources: [
      {
        name: "code",
        kind: "text",
        paths: [text],
        weight: null,
        field: "text",
        fim: { rate: 1, spm: 0.5, tokens: null },
      },
    ],
    tokenizer: folder,
    vocabulary: 2051,
    cache: join(folder, "tokens"),
    context: 64,
    sequences: 1,
    micros: 1,
    seed: 5,
    pack: "documents",
    heldOut: { share: 0.2, most: 10_000 },
    ...more,
  });
  const inFolder = (body: (folder: string) => Promise<void>): Promise<void> =>
    withTokens(["<fim_prefix>", "<fim_suffix>", "<fim_middle>"], body);

  test("is trained on with its middles last, measured as it is, and split by whole documents", () =>
    inFolder(async (folder) => {
      const text = join(folder, "a.txt");
      const documents = Array.from({ length: 20 }, (_, i) => `${i} `.repeat(60).trim());
      await writeFile(text, documents.join("\u001e"));
      const data = await openData(optionsOf(folder, text));
      const rows = Array.from({ length: data.sources[0]!.sequences }, (_, i) => data.next(i + 1, 0));
      for (const { ids, places } of rows) {
        expect([...ids[0]!.subarray(0, 2)]).toEqual([0, 2048]);
        expect(places[0]).toMatch(/a\.txt, part \d+, id 0$/);
      }
      const held = [...data.heldOut(0, 1000)];
      expect(held.some(({ ids }) => ids[0]!.some((id) => id >= 2048))).toBe(false);
      // The last four or so, from their beginning.
      expect(held[0]!.places[0]).toMatch(/document 1[5-8], id 0$/);
      const state = data.state();
      data.close();
      const other = await openData(optionsOf(folder, text, { seed: 6 }));
      expect(other.state().sources[0]!.hash).not.toBe(state.sources[0]!.hash);
      other.close();
      const again = await openData(optionsOf(folder, text));
      again.restore(state);
      again.close();
    }));

  test("of ids, of one document, or without such tokens is refused", () =>
    inFolder(async (folder) => {
      const text = join(folder, "a.txt");
      await writeFile(text, "one document alone");
      const open = async (options: DataOptions): Promise<void> => (await openData(options)).close();
      const options = optionsOf(folder, text);
      await expectFailure(open(options), "train/bad-source", "is one document, and all of it is held out");
      await open({ ...options, heldOut: { tokens: 0 } });
      const [source] = options.sources;
      await writeFile(join(folder, "a.bin"), new Uint8Array(64));
      const ids = { ...source!, kind: "tokens", paths: [join(folder, "a.bin")] } as const;
      await expectFailure(open({ ...options, sources: [ids] }), "train/bad-source", "only texts");
      const bare = { ...options, tokenizer: SEED, heldOut: { tokens: 0 } };
      await expectFailure(open(bare), "train/no-fim-token", "--fim-tokens");
    }));
});
