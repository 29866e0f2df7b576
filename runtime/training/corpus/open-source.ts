/** One source as ids: files of ids in place, texts tokenised once into the cache. */
import { createHash } from "node:crypto";
import { failure } from "../../../grammar/diagnostic.ts";
import { find } from "../../files/read.ts";
import type { TokenStore } from "../data/stretch.ts";
import { VERSION } from "../../version.ts";
import { encodeLong } from "./encode-long.ts";
import { findFiles } from "./find-files.ts";
import { widthFor } from "./id-file.ts";
import type { NamedTokenizer } from "./marks.ts";
import { openRawTokens } from "./raw-tokens.ts";
import { type Piece, readChunks, readJsonlPieces, readTextPieces } from "./read-pieces.ts";
import type { DataSource } from "./source.ts";
import { openCached, type TokenWriter, writeCached } from "./token-cache.ts";
import { startWork, type WorkOptions } from "./work.ts";

export interface OpenedSource {
  readonly store: TokenStore;
  readonly files: readonly string[];
  /** Of all that decides the ids. */
  readonly hash: string;
}

export interface SourceContext extends WorkOptions {
  /** Null: there are only ids. */
  readonly tokenizer: NamedTokenizer | null;
  /** How many ids the model knows. */
  readonly vocabulary: number;
  /** The folder for tokenised texts. */
  readonly cache: string;
}

/**
 * Throws `train/no-data`, `train/bad-jsonl`, `checkpoint/unreadable`, `checkpoint/bad-tokens`, `checkpoint/no-tokenizer`,
 * `checkpoint/slow-tokenizer`, `cli/not-utf8`, `file/special`, `file/changed` and, of the cache, `checkpoint/busy`, `file/failed`.
 */
export async function openSource(source: DataSource, context: SourceContext): Promise<OpenedSource> {
  const { tokenizer, vocabulary } = context;
  const files = findFiles(source);
  if (source.kind === "tokens") {
    const marks = tokenizer?.marks ?? { start: [], end: null };
    const opened = await openRawTokens(
      files,
      vocabulary,
      marks,
      startWork(source.name, "reading", sizeOf(files), context),
    );
    return { ...opened, files };
  }
  if (tokenizer === null)
    throw failure("checkpoint/no-tokenizer", `\`${source.name}\` is text, and there is no tokenizer to read it with`, {
      help: "give a model with a `tokenizer.json`, or `.bin` files of token ids",
    });
  return openText(source, files, tokenizer, context);
}

async function openText(
  source: DataSource,
  files: readonly string[],
  tokenizer: NamedTokenizer,
  context: SourceContext,
): Promise<OpenedSource> {
  const { cache, vocabulary } = context;
  const digests = await hashFiles(source, files, context);
  const width = widthFor(vocabulary);
  const { kind, field } = source;
  const content = [kind, kind === "jsonl" ? field : null, digests, tokenizer.hash, width, VERSION];
  const hash = createHash("sha256").update(JSON.stringify(content)).digest("hex");
  const open = (): TokenStore | null => openCached(cache, hash, width, files);
  const known = open();
  if (known !== null) return { store: known, files, hash };
  await writeCached(cache, hash, width, (writer) => tokenise(source, files, digests, tokenizer, writer, context));
  const store = open();
  if (store === null) throw new Error("what was written to the cache is not there");
  return { store, files, hash };
}

async function hashFiles({ name }: DataSource, files: readonly string[], context: SourceContext): Promise<string[]> {
  const { see, pause } = startWork(name, "reading", sizeOf(files), context);
  const digests: string[] = [];
  for (const file of files) {
    const hash = createHash("sha256");
    for (const chunk of readChunks(file, see)) {
      hash.update(chunk);
      await pause();
    }
    digests.push(hash.digest("hex"));
  }
  return digests;
}

const sizeOf = (files: readonly string[]): number =>
  files.reduce((sum, file) => sum + Number(find(file)?.size ?? 0), 0);

/** Adds every document: what stands in front of one, its ids, and what ends one, unless the text says so itself. */
async function tokenise(
  { kind, field, name }: DataSource,
  files: readonly string[],
  digests: readonly string[],
  { tokenizer, marks }: NamedTokenizer,
  writer: TokenWriter,
  context: SourceContext,
): Promise<void> {
  const work = startWork(name, "tokenising", sizeOf(files), context);
  const encode = (text: string): readonly number[] => tokenizer.encode(text);
  const first = (text: string): readonly number[] => tokenizer.encodeDocument(text);
  for (const [i, file] of files.entries()) {
    const hash = createHash("sha256");
    const see = (bytes: Uint8Array): void => {
      hash.update(bytes);
      work.see(bytes);
    };
    const pieces = kind === "jsonl" ? readJsonlPieces(file, field, see) : readTextPieces(file, see);
    writer.beginFile();
    for (const document of documentsOf(pieces)) {
      writer.beginDocument();
      let last = -1;
      for (const ids of encodeLong(document, first, encode)) {
        checkRange(file, ids, context.vocabulary);
        writer.add(ids);
        last = ids.at(-1) ?? last;
        await work.pause();
      }
      if (marks.end !== null && last !== marks.end) writer.add([marks.end]);
    }
    if (hash.digest("hex") !== digests[i])
      throw failure("file/changed", `\`${file}\` was written to while it was read`, {
        help: "wait until nothing else writes to it, and start again",
      });
  }
}

/** The pieces of one document after the other; each is to be walked to its end before the next. */
function* documentsOf(pieces: Iterator<Piece>): Generator<Iterable<string>> {
  let next = pieces.next();
  while (next.done !== true) {
    const first = next.value.text;
    next = pieces.next();
    yield (function* () {
      yield first;
      while (next.done !== true && !next.value.begins) {
        const { text } = next.value;
        next = pieces.next();
        yield text;
      }
    })();
  }
}

function checkRange(file: string, ids: readonly number[], vocabulary: number): void {
  const id = ids.find((n) => n >= vocabulary);
  if (id === undefined) return;
  throw failure(
    "checkpoint/bad-tokens",
    `the tokenizer makes id ${id} of \`${file}\`, but the model has ${vocabulary} ids`,
    {
      help: "give the tokenizer that the model was made with",
    },
  );
}
