/** Small tokenizers of every make that is published: bytes (GPT-2), split by a pattern (Llama 3), SentencePiece with bytes (Llama 2), Unigram (T5), WordPiece (BERT). */
import type { Json } from "./mutate-json.ts";

const LETTERS = [..."abcdefgh Ġ▁.'1"];
const PIECES = ["ab", "cd", "abcd", "Ġa", "▁a", "▁ab", "##b", "##cd"];
const vocab = (special: readonly string[], more: readonly string[] = []): Record<string, number> =>
  Object.fromEntries([...special, ...LETTERS, ...PIECES, ...more].map((token, id) => [token, id]));
const added = (special: readonly string[]): Json =>
  special.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
const MERGES = ["a b", "c d", "ab cd", "Ġ a", "▁ a", "▁a b"];
const SPECIAL = ["<s>", "</s>", "<unk>"];
const BYTES = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);

const begin = (token: string, id: number): Json => ({
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
});

const frame = { version: "1.0", truncation: null, padding: null };

const bpe = (more: object): Json => ({
  type: "BPE",
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  vocab: vocab(SPECIAL),
  merges: MERGES,
  ...more,
});

export const tokenizers: Readonly<Record<string, Json>> = {
  bytes: {
    ...frame,
    added_tokens: added(SPECIAL),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe({}),
  },
  split: {
    ...frame,
    added_tokens: added(SPECIAL),
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: {
            Regex:
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          },
          behavior: "Isolated",
          invert: false,
        },
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: "Sequence", processors: [{ type: "ByteLevel", trim_offsets: false }, begin("<s>", 0)] },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe({ ignore_merges: true, merges: MERGES.map((pair) => pair.split(" ")) }),
  },
  pieces: {
    ...frame,
    truncation: { direction: "Right", max_length: 128, strategy: "LongestFirst", stride: 0 },
    padding: {
      strategy: { Fixed: 64 },
      direction: "Right",
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: "<s>",
    },
    added_tokens: added(SPECIAL),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: begin("<s>", 0),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: bpe({ unk_token: "<unk>", fuse_unk: true, byte_fallback: true, vocab: vocab(SPECIAL, BYTES) }),
  },
  unigram: {
    ...frame,
    added_tokens: added(SPECIAL),
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFKC" }, { type: "Replace", pattern: { Regex: " {2,}" }, content: " " }],
    },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: begin("</s>", 1),
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    model: {
      type: "Unigram",
      unk_id: 2,
      byte_fallback: false,
      vocab: Object.keys(vocab(SPECIAL)).map((token, i) => [token, -i / 3]),
    },
  },
  words: {
    ...frame,
    added_tokens: added(["[CLS]", "[SEP]", "[UNK]"]),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 1], cls: ["[CLS]", 0] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: vocab(["[CLS]", "[SEP]", "[UNK]"]),
    },
  },
};

export const settings: Json = {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<s>",
  eos_token: { content: "</s>", lstrip: false, special: true },
  unk_token: "<unk>",
  pad_token: null,
  add_bos_token: true,
  add_eos_token: false,
  model_max_length: 512,
  clean_up_tokenization_spaces: false,
  chat_template: "{% for m in messages %}{{ m.content }}{% endfor %}",
  added_tokens_decoder: { "0": { content: "<s>", special: true } },
  additional_special_tokens: ["</s>"],
};
