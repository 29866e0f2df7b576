/**
 * Texts as token ids, for perplexity and training. Two kinds of file: `.bin`, raw little-endian ids in which each document
 * already begins with its first id, and UTF-8 text whose documents are separated by U+001E (the record separator of ASCII),
 * tokenised here, each document behind what the tokenizer puts in front of a text.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { readBytes, recode } from "../files/read.ts";
import { encodeDocuments } from "../tokenizer/documents.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export type TokenFormat = "uint16" | "uint32" | "text";

export interface LoadTokensOptions {
  /** Needed for text. */
  readonly tokenizer?: Tokenizer;
  /** How many ids the model knows; the tokenizer's size unless given. Greater ids in the file are an error. */
  readonly vocabularySize?: number;
  /** Unless given: text for every name but `.bin`; for `.bin` `uint16` where all ids fit (a vocabulary up to 65536). */
  readonly format?: TokenFormat;
}

/**
 * All ids of a file, one document after the other. Throws `checkpoint/unreadable`, `checkpoint/bad-tokens` (a size that is no
 * multiple of an id's, an id beyond the vocabulary, text that is not UTF-8) and `checkpoint/no-tokenizer`.
 */
export async function loadTokens(path: string, options: LoadTokensOptions = {}): Promise<Uint32Array> {
  const { tokenizer, vocabularySize = tokenizer?.vocabularySize } = options;
  const bytes = recode("checkpoint/unreadable", () => readBytes(path));
  const format = options.format ?? guessFormat(path, vocabularySize);
  if (format === "text") {
    if (tokenizer === undefined) {
      throw failure("checkpoint/no-tokenizer", `\`${path}\` is text, and there is no tokenizer to read it with`, {
        help: "give a model with a `tokenizer.json`, or a `.bin` file of token ids",
      });
    }
    return encodeDocuments(decodeUtf8(path, bytes), tokenizer);
  }
  const ids = readIds(path, bytes, format);
  if (vocabularySize !== undefined) checkRange(path, ids, vocabularySize, format);
  return ids;
}

function guessFormat(path: string, vocabularySize: number | undefined): TokenFormat {
  if (!path.endsWith(".bin")) return "text";
  return vocabularySize !== undefined && vocabularySize > 0x10000 ? "uint32" : "uint16";
}

function readIds(path: string, bytes: Uint8Array, format: "uint16" | "uint32"): Uint32Array {
  const width = format === "uint16" ? 2 : 4;
  if (bytes.byteLength % width !== 0) {
    throw badTokens(`\`${path}\` has ${bytes.byteLength} bytes, not a whole number of ${format} ids`);
  }
  const { buffer } = new Uint8Array(bytes); // a copy is aligned, which a small file's slot in Node's pool need not be
  return format === "uint16" ? new Uint32Array(new Uint16Array(buffer)) : new Uint32Array(buffer);
}

function checkRange(path: string, ids: Uint32Array, vocabularySize: number, format: TokenFormat): void {
  const at = ids.findIndex((id) => id >= vocabularySize);
  if (at < 0) return;
  throw badTokens(`id ${at} of \`${path}\` is ${ids[at]}, but the vocabulary has ${vocabularySize}`, [
    `the file was read as ${format}`,
  ]);
}

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badTokens(`\`${path}\` is not text in UTF-8`);
  }
}

function badTokens(message: string, notes: readonly string[] = []): Error {
  return failure("checkpoint/bad-tokens", message, { notes, help: "is it the right file, made for this model?" });
}
