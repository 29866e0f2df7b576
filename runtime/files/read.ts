/**
 * Reading. A file is asked what it is before it is opened, since to open a FIFO or a device may wait for ever or do something;
 * bytes are those of one moment, or an error; text is UTF-8, or an error, so that nothing is lost when it is written back.
 */
import { isUtf8 } from "node:buffer";
import { failure } from "../../grammar/diagnostic.ts";
import { FileError, isAbsent } from "./error.ts";
import { O_NONBLOCK, O_RDONLY, openFile, type OpenFile, stat, type Stats } from "./system.ts";

/** What a path leads to, through links; null where nothing has this name. Whatever else hides it from us is thrown. */
export function find(path: string): Stats | null {
  try {
    return stat(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** Whether there is a folder. A path through a file leads to none. */
export function isFolder(path: string): boolean {
  try {
    return stat(path).isDirectory();
  } catch (error) {
    if (error instanceof FileError && (error.code === "ENOENT" || error.code === "ENOTDIR")) return false;
    throw error;
  }
}

/** Whether there is anything of this name. */
export const exists = (path: string): boolean => find(path) !== null;

/** `a folder`, `a FIFO`: what is not an ordinary file; null for one. */
export function kindOf(stats: Stats): string | null {
  if (stats.isFile()) return null;
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a FIFO";
  if (stats.isSocket()) return "a socket";
  return stats.isSymbolicLink() ? "a link" : "a device";
}

/** What the system refuses while `action` reads, or does `what`, is told under this code. */
export function recode<T>(code: string, action: () => T, what?: string): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw failure(code, `${what ?? `cannot read \`${error.path}\``}: ${error.reason}`, { help: error.help });
  }
}

/** Opens an ordinary file. Throws `file/special` for any other, `file/failed`. */
export function openToRead(path: string): OpenFile {
  checkOrdinary(path, stat(path));
  const file = openFile(path, O_RDONLY | O_NONBLOCK);
  try {
    // It may be another by now.
    checkOrdinary(path, file.stat());
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

function checkOrdinary(path: string, stats: Stats): void {
  const kind = kindOf(stats);
  if (kind === null) return;
  throw failure("file/special", `\`${path}\` is ${kind}, not a file`, { help: "give an ordinary file" });
}

/** All bytes of an ordinary file. Throws `file/special`, `file/changed`, `file/too-large` beyond `most`, `file/failed`. */
export function readBytes(path: string, most = Infinity): Uint8Array<ArrayBuffer> {
  const file = openToRead(path);
  try {
    const size = Number(file.stat().size);
    if (size > most)
      throw failure(
        "file/too-large",
        `\`${path}\` has ${size} bytes, more than the ${most} that are read of such a file`,
        {
          help: "is it the right file?",
        },
      );
    const bytes = new Uint8Array(size);
    let done = 0;
    for (let got = -1; done < size && got !== 0; done += got) got = file.readNow(bytes.subarray(done), done);
    if (done < size || file.readNow(new Uint8Array(1), size) > 0) throw changed(path, size, done < size);
    return bytes;
  } finally {
    file.close();
  }
}

/** The same; null where nothing has this name. */
export function readBytesIfAny(path: string, most?: number): Uint8Array<ArrayBuffer> | null {
  try {
    return readBytes(path, most);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** More bytes make no string. */
const MOST_TEXT_BYTES = 2 ** 29 - 24;

/** A file's text. Throws `cli/not-utf8`, and what `readBytes` throws. */
export const readText = (path: string): string => decodeText(path, readBytes(path, MOST_TEXT_BYTES));

/** The same; null where nothing has this name. */
export function readTextIfAny(path: string): string | null {
  const bytes = readBytesIfAny(path, MOST_TEXT_BYTES);
  return bytes === null ? null : decodeText(path, bytes);
}

/** Without the mark that some editors put in front. Throws `cli/not-utf8` with the line. */
export function decodeText(path: string, bytes: Uint8Array): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  let [line, start] = [1, 0];
  for (let end = bytes.indexOf(10); end >= 0 && isUtf8(bytes.subarray(start, end)); end = bytes.indexOf(10, start))
    [line, start] = [line + 1, end + 1];
  throw failure("cli/not-utf8", `\`${path}\` is not text in UTF-8: line ${line} has other bytes`, {
    help: "save it as UTF-8, and check that line",
  });
}

function changed(path: string, size: number, isShorter: boolean): Error {
  const now = isShorter ? "fewer" : "more";
  return failure("file/changed", `\`${path}\` had ${size} bytes when it was opened, and ${now} when it was read`, {
    help: "wait until nothing else writes to it, and start again",
  });
}
