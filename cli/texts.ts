/** Texts that commands measure: files of words or of token ids, cut into sequences of equal length. */
import type { Command } from "commander";
import { failure } from "../grammar/index.ts";
import { loadTokens } from "../runtime/load/load-tokens.ts";
import type { Tokenizer } from "../runtime/tokenizer/tokenizer.ts";

export interface TextFlags {
  readonly text?: readonly string[];
  readonly tokens?: readonly string[];
}

export interface TextFile {
  readonly path: string;
  /** Undefined: raw ids. */
  readonly format: "text" | undefined;
}

/** The two ways to name texts. */
export function addTextOptions(command: Command): Command {
  return command
    .option(
      "--text <file...>",
      "texts in UTF-8; U+001E separates documents, each begins as its tokenizer says, or else with its BOS",
    )
    .option("--tokens <file...>", "raw token ids, little-endian uint16 (uint32 for vocabularies over 65536)");
}

/** Throws `cli/nothing-to-do` when no file is given. */
export function listTexts({ text = [], tokens = [] }: TextFlags): readonly TextFile[] {
  if (text.length + tokens.length === 0)
    throw failure("cli/nothing-to-do", "there is nothing to measure", {
      help: "give --text FILE or --tokens FILE.bin",
    });
  return [
    ...text.map((path) => ({ path, format: "text" as const })),
    ...tokens.map((path) => ({ path, format: undefined })),
  ];
}

export function readText(
  { path, format }: TextFile,
  vocabularySize: number,
  tokenizer: Tokenizer | undefined,
): Promise<Uint32Array> {
  return loadTokens(path, {
    vocabularySize,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(format === undefined ? {} : { format }),
  });
}

export interface Cut {
  /** Tokens of a sequence. */
  readonly context: number;
  /** The most sequences. */
  readonly limit?: number;
  /** Tokens that a text has to have. */
  readonly least: number;
}

/** Whole sequences only, so that every token has the same chances of context; a short text is one sequence. */
export function cutSequences(path: string, ids: Uint32Array, { context, limit, least }: Cut): readonly Uint32Array[] {
  if (ids.length < least)
    throw failure("cli/nothing-to-do", `${path} has ${ids.length} tokens, and at least ${least} are needed`, {
      help: "give a longer text",
    });
  const count = Math.min(limit ?? Infinity, Math.max(1, Math.floor(ids.length / context)));
  return Array.from({ length: count }, (_, i) => ids.subarray(i * context, (i + 1) * context));
}
