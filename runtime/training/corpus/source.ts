/**
 * What training is told of its data: sources by name, each files of one kind. A text file holds documents separated by U+001E; of several
 * files each begins a document. A JSONL file holds an object per line, whose field `field` is a document. A file of ids holds what
 * `moec eval --tokens` reads: documents begin with the tokenizer's first id or, where it has none, behind its last one.
 */
import type { Fim } from "./fim.ts";

export type SourceKind = "text" | "jsonl" | "tokens";

export interface DataSource {
  /** As reports call the domain; different for each source. */
  readonly name: string;
  readonly kind: SourceKind;
  /** Files, folders, or patterns with `*`, `?`, `[...]`, `{a,b}` and `**`. */
  readonly paths: readonly string[];
  /** How often its sequences come, beside the others' weights. Null for all: every token counts alike; for some: theirs is 1. */
  readonly weight: number | null;
  /** Of JSONL. */
  readonly field: string;
  /** Of texts: how many of their documents are trained on with their middle last. */
  readonly fim: Fim | null;
}
