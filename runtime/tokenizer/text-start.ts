/**
 * What a tokenizer puts in front of a text: what its own post-processor does, unless `add_bos_token` of its settings says
 * otherwise. That a token is named as the one for beginnings says nothing: many tokenizers name one and put nothing in front.
 */
import { failure } from "../../grammar/diagnostic.ts";
import type { TokenizerLibrary } from "./tokenizer-library.ts";

/** A text that no tokenizer's vocabulary has as a token. */
const TEXT = "\u0000text";

/** The ids, in their order; empty for many. `bos` is the id of the token for beginnings, where one is named. Throws `checkpoint/bad-tokenizer`. */
export function findStart(
  inner: TokenizerLibrary,
  settings: Readonly<Record<string, unknown>> | null,
  bos: number | null,
): readonly number[] {
  const processed = inner.surround([TEXT]);
  const own = processed.slice(0, Math.max(0, processed.indexOf(TEXT))).map((token) => {
    const id = inner.tokenToId(token);
    if (id !== null) return id;
    throw failure(
      "checkpoint/bad-tokenizer",
      `\`${inner.path}\` puts \`${token}\` in front of a text, and has no such token`,
      { help: "copy `tokenizer.json` from the model's page again" },
    );
  });
  const adds = settings?.["add_bos_token"];
  if (bos === null || typeof adds !== "boolean" || own.includes(bos) === adds) return own;
  return adds ? [bos, ...own] : own.filter((id) => id !== bos);
}

/**
 * The ids that begin each of several documents: what belongs in front of a text. Documents have to be told apart, so where nothing says
 * what that is, neither a post-processor nor `add_bos_token`, it is the token that is named for beginnings.
 */
export function findDocumentStart(
  start: readonly number[],
  settings: Readonly<Record<string, unknown>> | null,
  bos: number | null,
): readonly number[] {
  const isSaid = start.length > 0 || typeof settings?.["add_bos_token"] === "boolean";
  return isSaid || bos === null ? start : [bos];
}

/** The ids of a text behind what belongs in front of it, which is there once, also where the text writes it itself. */
export function placeStart(start: readonly number[], ids: readonly number[]): readonly number[] {
  return start.every((id, i) => ids[i] === id) ? ids : [...start, ...ids];
}
