/**
 * Fill-in-the-middle: a document is cut at two characters, and its middle is put last, so that a model learns to write what stands between two
 * texts. Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle" (arXiv 2207.14255):
 *
 *     PSM      <prefix> prefix <suffix> suffix <middle> middle
 *     SPM      <prefix> <suffix> suffix <middle> prefix middle      (its second variant)
 *
 * behind what begins a document, and before the token that ends one. A document that is longer than a sequence is cut into parts first,
 * each of which fits with its tokens, since a middle without its surroundings teaches nothing: a part ends where it no longer fits, and the next
 * one goes on there, so no text is lost. What is chosen follows from the seed, the document and the part. A document is
 * rewritten when it is tokenised, so each pass over the data has the same cuts.
 */
import { failure } from "../../../grammar/diagnostic.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { shareAt } from "../data/counter.ts";
import { type Encode, encodeBehind, isInside } from "./encode-long.ts";
import type { Marks } from "./marks.ts";

/** The texts of the three tokens. */
export type FimTokens = readonly [prefix: string, suffix: string, middle: string];

export interface Fim {
  /** How many of the documents are rewritten, and how many of their parts as SPM; both 0 to 1. */
  readonly rate: number;
  readonly spm: number;
  /** Null: those that the tokenizer is found to have. */
  readonly tokens: FimTokens | null;
}

/** As published tokenizers call them. */
const KNOWN: readonly FimTokens[] = [
  ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
  ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
  ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
  ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
  ["▁<PRE>", "▁<SUF>", "▁<MID>"],
  ["<PRE>", "<SUF>", "<MID>"],
  ["[PREFIX]", "[SUFFIX]", "[MIDDLE]"],
];

export type FimIds = readonly [prefix: number, suffix: number, middle: number];

/** Throws `train/no-fim-token`. */
export function findFimIds(tokenizer: Pick<Tokenizer, "encode" | "decode">, named: FimTokens | null): FimIds {
  const idOf = (text: string): number | null => {
    const [id, ...more] = tokenizer.encode(text);
    return id !== undefined && more.length === 0 && tokenizer.decode([id]) === text ? id : null;
  };
  for (const tokens of named === null ? KNOWN : [named]) {
    const [prefix, suffix, middle] = tokens.map(idOf);
    if (prefix != null && suffix != null && middle != null) return [prefix, suffix, middle];
  }
  const missing = named?.filter((text) => idOf(text) === null).map((text) => `\`${text}\``);
  throw failure(
    "train/no-fim-token",
    missing === undefined
      ? "the tokenizer has no tokens for fill-in-the-middle"
      : `the tokenizer has no single token ${missing.join(", ")} for fill-in-the-middle`,
    {
      notes: named === null ? [`looked for ${KNOWN.map(([prefix]) => prefix).join(", ")} and their like`] : [],
      help: "name three tokens that it has, with --fim-tokens PREFIX SUFFIX MIDDLE, or train without --fim",
    },
  );
}

export interface Rewriting {
  readonly ids: FimIds;
  readonly marks: Marks;
  readonly encode: Encode;
  /** The most ids of a part. */
  readonly most: number;
  readonly fim: Fim;
  readonly seed: number;
}

export const isRewritten = ({ fim, seed }: Rewriting, document: number): boolean =>
  shareAt(seed, "rewrite", document) < fim.rate;

/** The ids of each part of a document. */
export function* rewriteDocument(text: string, document: number, how: Rewriting): Generator<readonly number[]> {
  for (let [at, part] = [0, 0]; at < text.length; part++) {
    const { ids, length } = rewritePart(text.slice(at), document, part, how);
    yield ids;
    at += length;
  }
}

/** The first part of a text, and how many characters it has. */
function rewritePart(
  text: string,
  document: number,
  part: number,
  { ids: [prefixId, suffixId, middleId], marks, encode, most, fim, seed }: Rewriting,
): { readonly ids: readonly number[]; readonly length: number } {
  const share = (which: number): number => shareAt(seed, "cut", document, part, which);
  const isSpm = share(0) < fim.spm;
  // More characters than would be in a part anyway are not looked at.
  let length = wholeAt(text, Math.min(text.length, most * MOST_CHARACTERS));
  for (;;) {
    const own = text.slice(0, length);
    const [a, b] = [share(1), share(2)].map((s) => wholeAt(own, Math.floor(s * (length + 1)))).sort((x, y) => x - y);
    // A piece is encoded as it is inside of a text.
    const [prefix, middle, suffix] = [own.slice(0, a), own.slice(a, b), own.slice(b)].map((piece) =>
      piece === "" ? [] : encodeBehind("\n", piece, encode),
    );
    const end = marks.end === null ? [] : [marks.end];
    const ids = isSpm
      ? [...marks.start, prefixId, suffixId, ...suffix!, middleId, ...prefix!, ...middle!, ...end]
      : [...marks.start, prefixId, ...prefix!, suffixId, ...suffix!, middleId, ...middle!, ...end];
    const least = isInside(own, 1) ? 2 : 1;
    if (ids.length <= most || length <= least) return { ids, length };
    // By what the characters came to, and a little less.
    length = Math.max(least, wholeAt(own, Math.min(length - 1, Math.floor((length * most * 0.95) / ids.length))));
  }
}

/** Of a token of text, at the most that is worth a try. */
const MOST_CHARACTERS = 16;

/** A place that is not inside of a character. */
const wholeAt = (text: string, at: number): number => (isInside(text, at) ? at - 1 : at);
