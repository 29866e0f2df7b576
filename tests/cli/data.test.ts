/** What `--data` and the options beside it say. */
import { Command, InvalidArgumentError } from "commander";
import { describe, expect, test } from "vitest";
import { addDataOptions, type DataFlags, parseHeldOut, parseSource, readDataFlags } from "../../cli/data.ts";

const read = (...args: readonly string[]): ReturnType<typeof readDataFlags> => {
  const command = addDataOptions(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return readDataFlags(command.parse(args, { from: "user" }).opts<DataFlags>());
};

describe("a source", () => {
  test.each([
    ["prose.txt", { name: "prose", kind: "text", paths: ["prose.txt"], weight: null, field: "text" }],
    ["data/law.jsonl", { name: "law", kind: "jsonl", paths: ["data/law.jsonl"], field: "text" }],
    ["law.ndjson#content", { name: "law", kind: "jsonl", paths: ["law.ndjson"], field: "content" }],
    ["x/prose.bin", { name: "prose", kind: "tokens", paths: ["x/prose.bin"] }],
    ["src/**/*.py", { name: "src", kind: "text", paths: ["src/**/*.py"] }],
    ["shards/part-*.jsonl#body", { name: "shards", kind: "jsonl", paths: ["shards/part-*.jsonl"], field: "body" }],
    ["./notes/", { name: "notes", kind: "text", paths: ["./notes/"] }],
    ["*.md", { name: "*", kind: "text", paths: ["*.md"] }],
    [".hidden", { name: ".hidden", kind: "text" }],
    ["9*code=src", { name: "code", weight: 9, paths: ["src"] }],
    ["0.5*law.jsonl", { name: "law", weight: 0.5 }],
    ["code=a=b.txt", { name: "code", paths: ["a=b.txt"] }],
    ["./9*code.txt", { name: "9*code", weight: null, paths: ["./9*code.txt"] }],
    ["a#b.txt", { name: "a#b", paths: ["a#b.txt"], kind: "text" }],
  ])("%s", (text, wanted) => expect(parseSource(text)).toMatchObject(wanted));

  test.each(["", "9*", "code="])("`%s` names no file", (text) =>
    expect(() => parseSource(text)).toThrow(InvalidArgumentError),
  );
});

test.each([
  ["20000", { tokens: 20_000 }],
  ["0", { tokens: 0 }],
  ["0.1", { share: 0.1 }],
  ["2.5%", { share: 0.025 }],
])("%s is held out", (text, wanted) => expect(parseHeldOut(text)).toMatchObject(wanted));

test.each(["all", "1.5", "-3", "100%", "", "1e-2"])("`%s` is nothing to hold out", (text) =>
  expect(() => parseHeldOut(text)).toThrow(InvalidArgumentError),
);

describe("options", () => {
  test("are what data is opened with", () => {
    expect(read("--data", "a.txt", "2*b.bin", "--pack", "documents", "--held-out", "100")).toEqual({
      sources: [
        { name: "a", kind: "text", paths: ["a.txt"], weight: null, field: "text", fim: null },
        { name: "b", kind: "tokens", paths: ["b.bin"], weight: 2, field: "text", fim: null },
      ],
      pack: "documents",
      heldOut: { tokens: 100 },
    });
  });

  test("about middles are of texts alone, unless there are only ids to refuse them", () => {
    const fim = { rate: 0.5, spm: 0.5, tokens: null };
    expect(read("--data", "a.txt", "b.bin", "--fim", "0.5").sources.map((s) => s.fim)).toEqual([fim, null]);
    expect(read("--data", "b.bin", "--fim", "0.5").sources.map((s) => s.fim)).toEqual([fim]);
    const named = read("--data", "a.txt", "--fim", "1", "--spm", "0", "--fim-tokens", "<P>", "<S>", "<M>");
    expect(named.sources[0]!.fim).toEqual({ rate: 1, spm: 0, tokens: ["<P>", "<S>", "<M>"] });
  });

  test.each([
    [["--spm", "0.5"], "`--spm` needs `--fim`"],
    [["--fim-tokens", "a", "b", "c"], "`--fim-tokens` needs `--fim`"],
    [["--fim", "1", "--fim-tokens", "a", "b"], "has 2 tokens, and takes three"],
    [["--fim", "2"], "It must be a number from 0 to 1"],
    [["--pack", "tight"], "It must be joined or documents"],
  ])("%j are refused", (args, words) => expect(() => read("--data", "a.txt", ...args)).toThrow(words));
});
