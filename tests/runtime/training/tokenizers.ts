/** A small tokenizer of another kind than that of the examples. */
import { readTokenizer, type Tokenizer } from "../../../runtime/tokenizer/tokenizer.ts";

/** Words with a mark in front of each, the first of a text too: as of SentencePiece. */
export const marked = await makeTokenizer({
  normalizer: null,
  post_processor: null,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
  decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
  model: { type: "BPE", dropout: null, ...bytePairs(["▁t", "▁th", "▁the", "in", "er"]), unk_token: "<unk>" },
});

function bytePairs(words: readonly string[]): object {
  const letters = ["<unk>", ..."▁abcdefghijklmnopqrstuvwxyz.,\n"];
  const merges = words.map((word) => [word.slice(0, -1), word.slice(-1)]);
  return { vocab: Object.fromEntries([...letters, ...words].map((token, id) => [token, id])), merges };
}

async function makeTokenizer(definition: object): Promise<Tokenizer> {
  const files: Readonly<Record<string, string>> = {
    "tokenizer.json": JSON.stringify({ added_tokens: [], ...definition }),
  };
  return readTokenizer(
    {
      path: "made",
      pathOf: (name) => `made/${name}`,
      list: async () => [],
      readText: async (name) => files[name] ?? null,
      open: () => Promise.reject(new Error("there are no weights")),
    },
    (_, run) => run(),
  );
}
