/**
 * What stands around documents: the ids that a tokenizer puts in front of one, and the one that ends a text, which is learnt like any other.
 * Where a tokenizer has neither, documents of files of ids cannot be told apart, and each file is one.
 */
import { createHash } from "node:crypto";
import { readBytesIfAny } from "../../files/read.ts";
import { diskFolder } from "../../load/disk-folder.ts";
import { loadTokenizer } from "../../load/load-tokenizer.ts";
import { type Tokenizer } from "../../tokenizer/tokenizer.ts";

export interface Marks {
  readonly start: readonly number[];
  readonly end: number | null;
}

export interface NamedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly marks: Marks;
  /** Of everything that decides the ids of a text. */
  readonly hash: string;
}

/** The tokenizer of a checkpoint's folder. Throws what `loadTokenizer` throws. */
export async function openTokenizer(path: string): Promise<NamedTokenizer> {
  const tokenizer = await loadTokenizer(path);
  const marks = { start: tokenizer.encodeDocument(""), end: tokenizer.eosIds[0] ?? null };
  const folder = diskFolder(path);
  const hash = createHash("sha256").update(JSON.stringify(marks));
  for (const name of ["tokenizer.json", "tokenizer_config.json"])
    hash.update(`\n${name}\n`).update(readBytesIfAny(folder.pathOf(name)) ?? "");
  return { tokenizer, marks, hash: hash.digest("hex") };
}
