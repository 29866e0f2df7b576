/** One source as ids: files of ids in place, texts tokenised once into the cache. */
import { createHash } from "node:crypto";
import { failure } from "../../../grammar/diagnostic.ts";
import { find } from "../../files/read.ts";
import type { TokenStore } from "../data/stretch.ts";
import { VERSION } from "../../version.ts";
import { encodeLong } from "./encode-long.ts";
import { type Fim, findFimIds, isRewritten, rewriteDocument, type Rewriting } from "./fim.ts";
import { findFiles } from "./find-files.ts";
import { type IdWidth, widthFor } from "./id-file.ts";
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
  /** Of texts: their first so many documents, some of them with their middle last. */
  readonly rewrite: ((fim: Fim, documents: number) => Promise<Rewritten>) | null;
}

export type Rewritten = Pick<OpenedSource, "store" | "hash">;

export interface SourceContext extends WorkOptions {
  /** Null: there are only ids. */
  readonly tokenizer: NamedTokenizer | null;
  /** How many ids the model knows. */
  readonly vocabulary: number;
  /** The folder for tokenised texts. */
  readonly cache: string;
  /** Ids of a sequence, and the seed: for parts of documents that are rewritten. */
  readonly context: number;
  readonly seed: number;
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
    return { ...opened, files, rewrite: null };
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
  const { vocabulary } = context;
  const digests = await hashFiles(source, files, context);
  const width = widthFor(vocabulary);
  const { kind, field } = source;
  const content = [kind, kind === "jsonl" ? field : null, digests, tokenizer.hash, width, VERSION];
  const all = { source, files, digests, tokenizer, width, context };
  const plain = await openTokenised(all, hashOf(content), null);
  const rewrite = async (fim: Fim, documents: number): Promise<Rewritten> => {
    const { seed, context: most } = context;
    const ids = findFimIds(tokenizer.tokenizer, fim.tokens);
    const how = { ids, marks: tokenizer.marks, encode: tokenizer.tokenizer.encode, most: most + 1, fim, seed };
    const hash = hashOf([...content, { documents, ids, most, seed, rate: fim.rate, spm: fim.spm }]);
    return openTokenised(all, hash, { how, documents });
  };
  return { ...plain, files, rewrite };
}

const hashOf = (content: unknown): string => createHash("sha256").update(JSON.stringify(content)).digest("hex");

interface Texts {
  readonly source: DataSource;
  readonly files: readonly string[];
  readonly digests: readonly string[];
  readonly tokenizer: NamedTokenizer;
  readonly width: IdWidth;
  readonly context: SourceContext;
}

/** The documents to take, and how some of them are rewritten. */
interface Rewrite {
  readonly how: Rewriting;
  readonly documents: number;
}

/** Out of the cache, where they are put if they are not there. */
async function openTokenised(texts: Texts, hash: string, rewrite: Rewrite | null): Promise<Rewritten> {
  const { width, files, context } = texts;
  const open = (): TokenStore | null =>
    openCached(context.cache, hash, width, files, rewrite === null ? "document" : "part");
  const known = open();
  if (known !== null) return { store: known, hash };
  await writeCached(context.cache, hash, width, (writer) => tokenise(texts, rewrite, writer));
  const store = open();
  if (store === null) throw new Error("what was written to the cache is not there");
  return { store, hash };
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

async function tokenise(texts: Texts, rewrite: Rewrite | null, writer: TokenWriter): Promise<void> {
  const { source, files, digests, context } = texts;
  const { kind, field, name } = source;
  const work = startWork(name, "tokenising", sizeOf(files), context);
  let count = 0;
  for (const [i, file] of files.entries()) {
    const hash = createHash("sha256");
    const see = (bytes: Uint8Array): void => {
      hash.update(bytes);
      work.see(bytes);
    };
    const pieces = kind === "jsonl" ? readJsonlPieces(file, field, see) : readTextPieces(file, see);
    writer.beginFile();
    for (const document of documentsOf(pieces)) {
      const number = count++;
      for (const ids of encodeDocument(document, number, texts.tokenizer, rewrite, writer)) {
        checkRange(file, ids, context.vocabulary);
        writer.add(ids);
        await work.pause();
      }
    }
    if (hash.digest("hex") !== digests[i])
      throw failure("file/changed", `\`${file}\` was written to while it was read`, {
        help: "wait until nothing else writes to it, and start again",
      });
  }
}

/** What stands in front of a document, its ids, and what ends it, unless the text says so itself; or its parts with their middle last. */
function* encodeDocument(
  document: Iterable<string>,
  number: number,
  { tokenizer, marks }: NamedTokenizer,
  rewrite: Rewrite | null,
  writer: TokenWriter,
): Generator<readonly number[]> {
  const isLeftOut = rewrite !== null && number >= rewrite.documents;
  if (isLeftOut || (rewrite !== null && isRewritten(rewrite.how, number))) {
    const text = [...document].join("");
    if (isLeftOut) return;
    for (const ids of rewriteDocument(text, number, rewrite.how)) {
      writer.beginDocument();
      yield ids;
    }
    return;
  }
  writer.beginDocument();
  let last = -1;
  for (const ids of encodeLong(document, tokenizer.encodeDocument, tokenizer.encode)) {
    yield ids;
    last = ids.at(-1) ?? last;
  }
  if (marks.end !== null && last !== marks.end) yield [marks.end];
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
