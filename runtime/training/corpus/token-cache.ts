/**
 * Tokenised texts on the disk: a file per source, named by the hash of all that decides its content, written aside and renamed when it is whole.
 * Its bytes: ids, little-endian and as wide as the vocabulary needs; padding to eight; where each document begins, and the first document
 * of each of the source's files, float64; then the counts of these three and a mark, float64 too. What is not like this is made again.
 */
import { join } from "node:path";
import { removeIfAny, tryTo } from "../../files/create.ts";
import { flushFolder, makeFolders } from "../../files/disk.ts";
import { takeLock } from "../../files/lock.ts";
import { find, openToRead } from "../../files/read.ts";
import { O_CREAT, O_EXCL, O_WRONLY, openFile, readNames, removeFolder, rename } from "../../files/system.ts";
import { countUpTo, type TokenStore } from "../data/stretch.ts";
import { type IdWidth, openIdFile, toBytes } from "./id-file.ts";

/** Documents are added one by one, each in any number of pieces. */
export interface TokenWriter {
  beginFile(): void;
  beginDocument(): void;
  add(ids: readonly number[]): void;
}

const MARK = 0x6d6f6563; // "moec"
const TAIL = 4;

const pathOf = (folder: string, key: string): string => join(folder, `${key.slice(0, 32)}.tokens`);

/** Null where there is none. `files` are those of the source, in their order; `word` is what messages call what begins at a start. */
export function openCached(
  folder: string,
  key: string,
  width: IdWidth,
  files: readonly string[],
  word: "document" | "part" = "document",
): TokenStore | null {
  const path = pathOf(folder, key);
  const found = find(path);
  if (found === null || !found.isFile()) return null;
  const file = openToRead(path);
  try {
    const numbers = (at: number, count: number): Float64Array => {
      const bytes = new Uint8Array(8 * count);
      for (let done = 0, got = -1; done < bytes.length && got !== 0; done += got)
        got = file.readNow(bytes.subarray(done), at + done);
      return new Float64Array(bytes.buffer);
    };
    const size = Number(found.size);
    const [tokens = 0, documents = 0, count = 0, mark] = numbers(Math.max(0, size - 8 * TAIL), TAIL);
    const body = paddedTo8(tokens * width);
    const isWhole = mark === MARK && count === files.length && size === body + 8 * (documents + count + TAIL);
    if (!isWhole) return null;
    const starts = numbers(body, documents);
    const firsts = numbers(body + 8 * documents, count);
    const ids = openIdFile(path, width);
    return {
      tokens,
      starts,
      read: (at, out) => ids.read(at, out),
      nameOf: (document) => {
        const at = countUpTo(firsts, document) - 1;
        return `${files[at]}, ${word} ${document - firsts[at]! + 1}`;
      },
      close: () => ids.close(),
    };
  } finally {
    file.close();
  }
}

/** `fill` writes all of it, and throws where it cannot: then nothing is left. Throws `checkpoint/busy`, `file/failed`. */
export async function writeCached(
  folder: string,
  key: string,
  width: IdWidth,
  fill: (writer: TokenWriter) => Promise<void>,
): Promise<void> {
  makeFolders(folder);
  const place = join(folder, ".partial");
  const lock = takeLock(place, folder);
  const aside = join(place, `${key.slice(0, 32)}.tokens`);
  try {
    // What a killed run left; nobody else is at work here.
    for (const name of readNames(place)) if (name.endsWith(".tokens")) removeIfAny(join(place, name));
    await writeAside(aside, width, fill);
    lock.check();
    rename(aside, pathOf(folder, key));
    flushFolder(folder);
  } catch (error) {
    tryTo(() => removeIfAny(aside));
    throw error;
  } finally {
    tryTo(() => lock.release());
    tryTo(() => removeFolder(place));
  }
}

const BLOCK = 1 << 16;
const paddedTo8 = (bytes: number): number => Math.ceil(bytes / 8) * 8;

async function writeAside(aside: string, width: IdWidth, fill: (writer: TokenWriter) => Promise<void>): Promise<void> {
  const file = openFile(aside, O_CREAT | O_EXCL | O_WRONLY);
  const starts: number[] = [];
  const firsts: number[] = [];
  let [tokens, at] = [0, 0];
  const put = (bytes: Uint8Array): void => {
    file.write(bytes, at);
    at += bytes.byteLength;
  };
  let block: number[] = [];
  const flush = (): void => {
    put(toBytes(block, width));
    block = [];
  };
  try {
    await fill({
      beginFile: () => void firsts.push(starts.length),
      beginDocument: () => void starts.push(tokens),
      add(ids) {
        tokens += ids.length;
        for (const id of ids) block.push(id);
        if (block.length >= BLOCK) flush();
      },
    });
    flush();
    put(new Uint8Array(paddedTo8(at) - at));
    const numbers = Float64Array.from([...starts, ...firsts, tokens, starts.length, firsts.length, MARK]);
    put(new Uint8Array(numbers.buffer));
    await file.flush();
  } finally {
    file.close();
  }
}
