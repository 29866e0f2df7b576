/** Files of token ids as they are: looked through once for ids beyond the vocabulary and for where documents begin, then read in place. */
import { createHash } from "node:crypto";
import { failure } from "../../../grammar/diagnostic.ts";
import type { TokenStore } from "../data/stretch.ts";
import { countUpTo } from "../data/stretch.ts";
import { type IdWidth, openIdFile, toIds, widthFor } from "./id-file.ts";
import type { Marks } from "./marks.ts";
import { readChunks } from "./read-pieces.ts";
import type { Work } from "./work.ts";

export interface OpenedTokens {
  readonly store: TokenStore;
  /** Of the ids and of where their documents begin. */
  readonly hash: string;
}

/** Throws `checkpoint/bad-tokens`, `checkpoint/unreadable`, `file/special`. */
export async function openRawTokens(
  paths: readonly string[],
  vocabulary: number,
  marks: Marks,
  { see, pause }: Work,
): Promise<OpenedTokens> {
  const width = widthFor(vocabulary);
  const hash = createHash("sha256").update(JSON.stringify({ width, marks }));
  const starts: number[] = [];
  const ends: number[] = [];
  let tokens = 0;
  for (const path of paths) {
    const scan = new Scan(path, width, vocabulary, marks);
    for (const chunk of readChunks(path, see)) {
      hash.update(chunk);
      scan.push(chunk);
      await pause();
    }
    for (const start of scan.end()) starts.push(tokens + start);
    ends.push((tokens += scan.count));
    hash.update(`\n${scan.count}`);
  }
  return {
    store: joinFiles(paths, width, Float64Array.from(ends), Float64Array.from(starts)),
    hash: hash.digest("hex"),
  };
}

/** One file, chunk by chunk. */
class Scan {
  count = 0;
  readonly #path: string;
  readonly #width: IdWidth;
  readonly #vocabulary: number;
  readonly #marks: Marks;
  readonly #starts: number[] = [];
  /** The last ids, as many as a document's beginning has. */
  #last: number[] = [];
  #rest = new Uint8Array(0);

  constructor(path: string, width: IdWidth, vocabulary: number, marks: Marks) {
    this.#path = path;
    this.#width = width;
    this.#vocabulary = vocabulary;
    this.#marks = marks;
  }

  push(chunk: Uint8Array): void {
    const bytes = new Uint8Array(this.#rest.length + chunk.length);
    bytes.set(this.#rest);
    bytes.set(chunk, this.#rest.length);
    const ids = toIds(bytes, this.#width);
    this.#rest = bytes.slice(ids.length * this.#width);
    for (const id of ids) this.#add(id);
  }

  end(): readonly number[] {
    if (this.#rest.length > 0)
      throw badTokens(
        `\`${this.#path}\` is no whole number of uint${8 * this.#width} ids: ${this.#rest.length} bytes are left`,
      );
    return this.#starts;
  }

  #add(id: number): void {
    if (id >= this.#vocabulary)
      throw badTokens(`id ${this.count} of \`${this.#path}\` is ${id}, but the vocabulary has ${this.#vocabulary}`, [
        `the file was read as uint${8 * this.#width}`,
      ]);
    const { start, end } = this.#marks;
    if (this.count === 0) this.#starts.push(0);
    else if (start.length === 0 && end !== null && this.#last[0] === end) this.#starts.push(this.count);
    this.#last.push(id);
    if (this.#last.length > Math.max(1, start.length)) this.#last.shift();
    this.count++;
    const at = this.count - start.length;
    const isStart = start.length > 0 && at > 0 && start.every((s, i) => s === this.#last[i]);
    if (isStart) this.#starts.push(at);
  }
}

/** Files one behind the other. */
function joinFiles(paths: readonly string[], width: IdWidth, ends: Float64Array, starts: Float64Array): TokenStore {
  const files = paths.map((path) => openIdFile(path, width));
  const fileAt = (at: number): number => countUpTo(ends, at);
  const beginOf = (file: number): number => (file === 0 ? 0 : ends[file - 1]!);
  return {
    tokens: ends.at(-1) ?? 0,
    starts,
    read(at, out) {
      for (let done = 0; done < out.length;) {
        const file = fileAt(at + done);
        const length = Math.min(out.length - done, ends[file]! - at - done);
        files[file]!.read(at + done - beginOf(file), out.subarray(done, done + length));
        done += length;
      }
    },
    nameOf: (document) => {
      const file = fileAt(starts[document]!);
      return `${paths[file]}, document ${document - countUpTo(starts, beginOf(file) - 1) + 1}`;
    },
    close: () => files.forEach((file) => file.close()),
  };
}

function badTokens(message: string, notes: readonly string[] = []): Error {
  return failure("checkpoint/bad-tokens", message, { notes, help: "is it the right file, made for this model?" });
}
