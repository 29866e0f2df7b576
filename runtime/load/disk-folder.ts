/** A checkpoint's folder and its files on a disk of this machine. */
import { basename, join } from "node:path";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { type ByteSource, Unreadable } from "../checkpoint/byte-source.ts";
import type { Folder } from "../checkpoint/folder.ts";
import { badHeader } from "../checkpoint/safetensors-header.ts";
import { FileError } from "../files/error.ts";
import { isFolder, openToRead, readTextIfAny, recode } from "../files/read.ts";
import { type OpenFile, readNames } from "../files/system.ts";
import { resolveFolder } from "./hub-folder.ts";

/**
 * A model's folder in the hub's cache stands for its snapshot. Throws `checkpoint/snapshots`. What the system refuses when it is read is told
 * under `unreadable`, or as it is.
 */
export function diskFolder(given: string, unreadable: string | null = "checkpoint/unreadable"): Folder {
  const path = resolveFolder(given);
  const pathOf = (name: string): string => join(path, name);
  const tell = <T>(read: () => T): T => (unreadable === null ? read() : recode(unreadable, read));
  const listNow = (inside: string): string[] =>
    inside !== "" && !isFolder(pathOf(inside)) ? [] : readNames(pathOf(inside)).sort();
  return {
    path,
    pathOf,
    list: async (inside = "") => tell(() => listNow(inside)),
    readText: async (name) => tell(() => readTextIfAny(pathOf(name))),
    open: async (name) => diskSource(pathOf(name)),
  };
}

/** Of one system call: larger ones are several times slower on some systems, smaller ones on none. */
const CHUNK_BYTES = 2 << 20;

/** A file with weights. Throws `checkpoint/unreadable` when there is no such file, `checkpoint/bad-header` for what is not an ordinary one. */
export function diskSource(path: string): ByteSource {
  const file = recode("checkpoint/unreadable", () => openOrdinary(path));
  try {
    const { size, mtimeNs } = file.stat();
    return {
      path,
      name: basename(path),
      size: Number(size),
      modified: mtimeNs,
      read: (position, into) => readChunks(file, position, into),
      checkUnchanged: async () => {
        const now = file.stat();
        if (now.size === size && now.mtimeNs === mtimeNs) return;
        throw failure("checkpoint/changed", `\`${path}\` was written to while it was read`, {
          help: "wait until nothing else writes to it, and start again",
        });
      },
      close: async () => file.close(),
    };
  } catch (cause) {
    file.close();
    throw cause;
  }
}

function openOrdinary(path: string): OpenFile {
  try {
    return openToRead(path);
  } catch (error) {
    if (!(error instanceof MoeError) || error instanceof FileError) throw error;
    throw badHeader(path, error.diagnostics[0]!.message);
  }
}

/** A read may return less than asked for, and nothing at all only at the end of the file. */
async function readChunks(file: OpenFile, position: number, into: Uint8Array): Promise<number> {
  for (let done = 0; done < into.byteLength;) {
    const got = await file.read(into.subarray(done, done + CHUNK_BYTES), position + done).catch((cause: unknown) => {
      throw cause instanceof FileError ? new Unreadable(cause.reason) : cause;
    });
    if (got === 0) return done;
    done += got;
  }
  return into.byteLength;
}
