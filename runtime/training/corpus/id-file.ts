/** Ids that lie in a file, read where they are wanted. The file has to stay as it was when it was opened. */
import { failure } from "../../../grammar/diagnostic.ts";
import { openToRead, recode } from "../../files/read.ts";

export type IdWidth = 2 | 4;

export interface IdFile {
  /** Fills `out` with the ids from `at` on. Throws `file/changed`, `checkpoint/unreadable`. */
  read(at: number, out: Uint32Array): void;
  close(): void;
}

/** The least width that holds all ids of a vocabulary. */
export const widthFor = (vocabulary: number): IdWidth => (vocabulary > 0x10000 ? 4 : 2);

/** Little-endian ids of `width` bytes from the file's beginning. */
export function openIdFile(path: string, width: IdWidth): IdFile {
  const file = recode("checkpoint/unreadable", () => openToRead(path));
  const { size, mtimeNs } = file.stat();
  const check = (): void => {
    const now = file.stat();
    if (now.size === size && now.mtimeNs === mtimeNs) return;
    throw failure("file/changed", `\`${path}\` was written to while it was trained on`, {
      help: "put it back as it was and resume, or begin a new run",
    });
  };
  return {
    read(at, out) {
      check();
      const bytes = new Uint8Array(out.length * width);
      for (let done = 0, got = -1; done < bytes.length && got !== 0; done += got)
        got = recode("checkpoint/unreadable", () => file.readNow(bytes.subarray(done), at * width + done));
      out.set(toIds(bytes, width));
    },
    close: () => file.close(),
  };
}

/** Whole ids alone. */
export function toIds(bytes: Uint8Array<ArrayBuffer>, width: IdWidth): Uint16Array | Uint32Array {
  const count = Math.floor(bytes.length / width);
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  return width === 2
    ? new Uint16Array(aligned.buffer, aligned.byteOffset, count)
    : new Uint32Array(aligned.buffer, aligned.byteOffset, count);
}

export function toBytes(ids: ArrayLike<number>, width: IdWidth): Uint8Array {
  return new Uint8Array((width === 2 ? Uint16Array.from(ids) : Uint32Array.from(ids)).buffer);
}
