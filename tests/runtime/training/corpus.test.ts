/** Files as ids: read piece by piece, tokenised once, documents apart, mistakes told with file and line. */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type DataOptions, openData, type TrainingData } from "../../../runtime/training/corpus/open-data.ts";
import type { DataSource } from "../../../runtime/training/corpus/source.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { MEMORY, expectFailure, withScratch } from "../checkpoint/scratch.ts";

const SEED = "examples/checkpoints/seed";
const tokenizer = await loadTokenizer(SEED);

const source = (paths: readonly string[], more: Partial<DataSource> = {}): DataSource => ({
  name: "a",
  kind: "text",
  paths,
  weight: null,
  field: "text",
  fim: null,
  ...more,
});

/** Everything is one pass in order of documents, nothing held out, unless said otherwise. */
async function withData<T>(
  folder: string,
  sources: readonly DataSource[],
  use: (data: TrainingData) => T | Promise<T>,
  more: Partial<DataOptions> = {},
): Promise<T> {
  const data = await openData({
    sources,
    tokenizer: SEED,
    vocabulary: tokenizer.vocabularySize,
    cache: join(folder, "tokens"),
    context: 16,
    sequences: 1,
    micros: 1,
    seed: 1,
    heldOut: { tokens: 0 },
    ...more,
  });
  try {
    return await use(data);
  } finally {
    data.close();
  }
}

/** The ids of all documents, by sequences of one document each that are as long as it takes. */
async function documentsOf(folder: string, from: DataSource, more: Partial<DataOptions> = {}): Promise<string[]> {
  return withData(
    folder,
    [from],
    (data) => {
      const count = data.sources[0]!.sequences;
      const rows = Array.from({ length: count }, (_, i) => data.next(i + 1, 0));
      return rows
        .map(({ ids, target, counted }) => {
          const length = counted[0]!.reduce((a, b) => a + b, 0);
          return tokenizer.decode([ids[0]![0]!, ...target[0]!.subarray(0, length)]);
        })
        .sort();
    },
    { pack: "documents", context: 4096, ...more },
  );
}

const inScratch = (body: (folder: string) => Promise<void>): Promise<void> => withScratch(body, MEMORY);
const seen = (...texts: readonly string[]): string[] => texts.map((text) => `<s>${text}</s>`).sort();

describe("documents", () => {
  test("of text are what stands between U+001E; of several files each begins one; empty ones are none", () =>
    inScratch(async (folder) => {
      await mkdir(join(folder, "in/deep"), { recursive: true });
      await mkdir(join(folder, "in/.hidden"), { recursive: true });
      await writeFile(join(folder, "in/a.txt"), "\uFEFFone\u001etwo\u001e\u001e");
      await writeFile(join(folder, "in/deep/b.txt"), "three");
      await writeFile(join(folder, "in/deep/c.md"), "four");
      await writeFile(join(folder, "in/empty.txt"), "");
      await writeFile(join(folder, "in/.hidden/d.txt"), "five");
      expect(await documentsOf(folder, source([join(folder, "in")]))).toEqual(seen("one", "two", "three", "four"));
      expect(await documentsOf(folder, source([join(folder, "in/**/*.txt")]))).toEqual(seen("one", "two", "three"));
      expect(await documentsOf(folder, source([join(folder, "in/*.{txt,md}")]))).toEqual(seen("one", "two"));
    }));

  test("of JSONL are one field of each line, of any length", () =>
    inScratch(async (folder) => {
      const long = "many words ".repeat(300).trim();
      const lines = [{ text: "one\ntwo" }, { body: "b", text: long }, { text: "" }].map((l) => JSON.stringify(l));
      await writeFile(join(folder, "a.jsonl"), `${lines.join("\r\n")}\n\n`);
      const jsonl = source([join(folder, "a.jsonl")], { kind: "jsonl" });
      expect(await documentsOf(folder, jsonl)).toEqual(seen("one\ntwo", long));
    }));

  test("of ids begin with the tokenizer's first id, in each of several files", () =>
    inScratch(async (folder) => {
      const write = (name: string, ...ids: number[]): Promise<void> =>
        writeFile(join(folder, name), new Uint8Array(Uint16Array.from(ids).buffer));
      await write("a.bin", 5, 6, 0, 7, 8, 9);
      await write("b.bin", 10, 0, 0, 11);
      const tokens = source([join(folder, "a.bin"), join(folder, "b.bin")], { kind: "tokens" });
      await withData(folder, [tokens], (data) => {
        expect(data.sources).toMatchObject([{ files: 2, documents: 5, tokens: 10, heldOut: 0 }]);
        const [row] = data.next(1, 0).ids;
        expect([...row!.subarray(0, 9)]).toEqual([5, 6, 0, 7, 8, 9, 10, 0, 0]);
        expect([...data.next(1, 0).counted[0]!]).toEqual([1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
      });
      // Without a tokenizer nothing says where documents begin.
      for (const none of [null, folder])
        await withData(folder, [tokens], (data) => expect(data.sources[0]!.documents).toBe(2), { tokenizer: none });
    }));

  test("are told by file and number in a batch", () =>
    inScratch(async (folder) => {
      await mkdir(join(folder, "in"));
      await writeFile(join(folder, "in/a.txt"), "one\u001etwo");
      await writeFile(join(folder, "in/b.txt"), "three\u001efour");
      const places = await withData(
        folder,
        [source([join(folder, "in")])],
        (data) => Array.from({ length: 4 }, (_, i) => data.next(i + 1, 0).places[0]).sort(),
        { pack: "documents" },
      );
      const place = (file: string, n: number): string => `a: ${join(folder, "in", file)}, document ${n}, id 0`;
      expect(places).toEqual([place("a.txt", 1), place("a.txt", 2), place("b.txt", 1), place("b.txt", 2)]);
    }));
});

describe("the cache", () => {
  test("is used again by the same files and tokenizer, and by no others", () =>
    inScratch(async (folder) => {
      const file = join(folder, "a.txt");
      await writeFile(file, "one\u001etwo");
      const open = (more: Partial<DataSource> = {}): Promise<readonly string[]> =>
        withData(folder, [source([file], more)], (data) => data.state().sources.map((s) => s.hash));
      const list = async (): Promise<string[]> => (await readdir(join(folder, "tokens"))).sort();
      const first = await open();
      const made = await list();
      expect(made).toHaveLength(1);
      const before = await readFile(join(folder, "tokens", made[0]!));
      expect(await open()).toEqual(first);
      expect(await list()).toEqual(made);
      await writeFile(file, "one\u001eTwo");
      expect(await open()).not.toEqual(first);
      expect(await list()).toHaveLength(2);
      expect(await readFile(join(folder, "tokens", made[0]!))).toEqual(before);
    }));

  test("is made again where it is damaged, and what a killed run left is taken away", () =>
    inScratch(async (folder) => {
      const file = join(folder, "a.txt");
      await writeFile(file, "one\u001etwo");
      const from = source([file]);
      expect(await documentsOf(folder, from)).toEqual(seen("one", "two"));
      const [name] = await readdir(join(folder, "tokens"));
      const cached = join(folder, "tokens", name!);
      const whole = await readFile(cached);
      await writeFile(cached, whole.subarray(0, whole.length - 8));
      await mkdir(join(folder, "tokens/.partial"));
      await writeFile(join(folder, "tokens/.partial/0123.tokens"), "x");
      expect(await documentsOf(folder, from)).toEqual(seen("one", "two"));
      expect(await readFile(cached)).toEqual(whole);
      expect(await readdir(join(folder, "tokens"))).toEqual([name]);
    }));

  test("has nothing of a source that could not be read to its end", () =>
    inScratch(async (folder) => {
      await writeFile(join(folder, "a.jsonl"), '{"text": "one"}\n{"text": 5}\n');
      const bad = withData(folder, [source([join(folder, "a.jsonl")], { kind: "jsonl" })], () => undefined);
      await expectFailure(bad, "train/bad-jsonl", "line 2 of");
      expect(await readdir(join(folder, "tokens"))).toEqual([]);
    }));
});

test("a file that is written to while it is trained on is told, not read", () =>
  inScratch(async (folder) => {
    const file = join(folder, "a.bin");
    await writeFile(file, new Uint8Array(64));
    await withData(folder, [source([file], { kind: "tokens" })], async (data) => {
      data.next(1, 0);
      await writeFile(file, new Uint8Array(66));
      expect(() => data.next(2, 0)).toThrow("file/changed");
    });
  }));

test("without weights every token counts alike; beside others' a source without one has 1", () =>
  inScratch(async (folder) => {
    const write = async (name: string, count: number): Promise<string> => {
      await writeFile(join(folder, name), new Uint8Array(2 * count));
      return join(folder, name);
    };
    const [a, b] = [await write("a.bin", 300), await write("b.bin", 100)];
    const both = (weight: number | null): readonly DataSource[] => [
      source([a], { kind: "tokens", weight }),
      source([b], { kind: "tokens", name: "b" }),
    ];
    const shares = (data: TrainingData): readonly number[] => data.sources.map((s) => s.share);
    expect(await withData(folder, both(null), shares)).toEqual([0.75, 0.25]);
    expect(await withData(folder, both(4), shares)).toEqual([0.8, 0.2]);
  }));

test("a signal ends reading, and nothing is left", () =>
  inScratch(async (folder) => {
    await writeFile(join(folder, "a.txt"), "some words of a text\n".repeat(20_000));
    const control = new AbortController();
    const heard: string[] = [];
    const ended = withData(folder, [source([join(folder, "a.txt")])], () => undefined, {
      signal: control.signal,
      onProgress: ({ source: name, doing, done, total }) => {
        heard.push(`${name} ${doing} ${done <= total}`);
        if (doing === "tokenising") control.abort();
      },
    });
    await expectFailure(ended, "call/aborted", "openData");
    expect(heard.at(-1)).toBe("a tokenising true");
    expect(await readdir(join(folder, "tokens"))).toEqual([]);
  }));

describe("what cannot be trained on is told with its place", () => {
  const failing = (
    content: string | Uint8Array,
    kind: DataSource["kind"],
    code: string,
    ...parts: readonly string[]
  ): Promise<void> =>
    inScratch(async (folder) => {
      await writeFile(join(folder, "x"), content);
      await expectFailure(
        withData(folder, [source([join(folder, "x")], { kind })], () => undefined),
        code,
        ...parts,
      );
    });

  test.each([
    ["no JSON", '{"text": "one"}\n\n{"text: 1}\n', ["line 3 of", "is not JSON", 'it begins with "{\\"text: 1}"']],
    ["a list", '["one"]', ["line 1 of", "is a list, not an object"]],
    [
      "another field",
      '{"content": "one", "n": 1}',
      ["has no field `text`", "its fields with texts: content", "#content"],
    ],
    ["a number", '{"text": 1}', ["has a number in its field `text`, not a text", "its fields with texts: none"]],
    ["what every object has", '{"toString": 1}', ["has no field `text`"]],
  ])("JSONL: %s", (_, content, parts) => failing(content, "jsonl", "train/bad-jsonl", ...parts));

  test("text that is not UTF-8, with its line", async () => {
    await failing(Uint8Array.of(97, 10, 98, 10, 99, 0xff, 10), "text", "cli/not-utf8", "line 3 has other bytes");
    // The first bytes of a character, and no more of it.
    await failing(Uint8Array.of(97, 10, 0xe2, 0x82), "text", "cli/not-utf8", "line 2");
  });

  test("an id that the model does not have, with its place", () =>
    failing(
      Uint8Array.of(1, 0, 0, 8),
      "tokens",
      "checkpoint/bad-tokens",
      "id 1 of",
      "is 2048, but the vocabulary has 2048",
    ));

  test("half an id", () =>
    failing(Uint8Array.of(1, 0, 5), "tokens", "checkpoint/bad-tokens", "no whole number of uint16"));

  test("a text without words", () => failing("\u001e", "text", "train/empty-data", "`a` has no two ids to train on"));

  test("paths that lead nowhere, a FIFO's like, no sources, and two of one name", () =>
    inScratch(async (folder) => {
      const open = (...sources: readonly DataSource[]): Promise<void> => withData(folder, sources, () => undefined);
      await expectFailure(open(source([join(folder, "no/*.txt")])), "train/no-data", "`a` has no files", "no/*.txt");
      await mkdir(join(folder, "empty"));
      await expectFailure(open(source([join(folder, "empty")])), "train/no-data", "empty");
      await expectFailure(open(), "train/no-data", "--data");
      await expectFailure(open(source(["x"]), source(["y"])), "train/bad-source", "two sources are called `a`");
      await expectFailure(open(source(["x"], { weight: 0 })), "train/bad-source", "the weight 0");
      await expectFailure(open(source(["/dev/null"])), "file/special", "a device");
    }));

  test("text where the model has no tokenizer, or has fewer ids than it", () =>
    inScratch(async (folder) => {
      await writeFile(join(folder, "a.txt"), "one");
      const open = (more: Partial<DataOptions>): Promise<void> =>
        withData(folder, [source([join(folder, "a.txt")])], () => undefined, more);
      await expectFailure(open({ tokenizer: null }), "checkpoint/no-tokenizer", "`a` is text");
      await expectFailure(open({ vocabulary: 20 }), "checkpoint/bad-tokens", "the tokenizer makes id", "a.txt");
      await rm(join(folder, "a.txt"));
      await expectFailure(open({}), "train/no-data");
    }));
});
