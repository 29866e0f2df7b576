/** A text of several documents, separated by U+001E (the record separator of ASCII). */
import type { Tokenizer } from "./tokenizer.ts";

export const DOCUMENT_SEPARATOR = "\u001e";

/** Ids of all documents of a text, each behind what begins one (`Tokenizer.encodeDocument`). Empty ones are left out. */
export function encodeDocuments(text: string, tokenizer: Tokenizer): Uint32Array {
  const documents = text
    .split(DOCUMENT_SEPARATOR)
    .filter((document) => document !== "")
    .map((document) => tokenizer.encodeDocument(document));
  return Uint32Array.from(documents.flat());
}
