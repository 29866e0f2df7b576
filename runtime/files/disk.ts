/** Room on a disk, folders above a name, and names that a crash of the machine does not lose. */
import { dirname } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { FileError, isAbsent } from "./error.ts";
import * as system from "./system.ts";

/** Bytes left on the disk that holds `path`, or will hold it: of the nearest folder that is there. */
export function freeBytes(path: string): number {
  try {
    const { bavail, bsize } = system.statDisk(path);
    return bavail * bsize;
  } catch (error) {
    if (!isAbsent(error) || path === dirname(path)) throw error;
    return freeBytes(dirname(path));
  }
}

/** Throws `checkpoint/disk-full`, with both numbers. */
export function checkSpace(target: string, needed: number): void {
  const free = freeBytes(target);
  if (needed <= free) return;
  throw failure(
    "checkpoint/disk-full",
    `\`${target}\` needs ${gigabytes(needed)}, its disk has ${gigabytes(free)} left`,
    { help: "free some space, or write to another disk" },
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(3)} GB`;

/** With all above it, where they lack. */
export function makeFolders(path: string): void {
  try {
    system.makeFolder(path);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    if (error.code === "ENOENT" && path !== dirname(path)) {
      makeFolders(dirname(path));
      makeFolders(path);
    } else if (error.code !== "EEXIST" || !system.stat(path).isDirectory()) throw error;
  }
}

/** Makes the names in a folder durable. Where the system has no such flush, it needs none or there is no help. */
export function flushFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = system.openFile(path, system.O_RDONLY);
  try {
    folder.flushNow();
  } catch (error) {
    if (!(error instanceof FileError) || !NO_FLUSH.has(error.code)) throw error;
  } finally {
    folder.close();
  }
}

const NO_FLUSH = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

/** Everything below a folder of ours, and it; links themselves, not what they lead to. Nothing where it is not there. */
export function removeTree(path: string): void {
  let names: readonly string[];
  try {
    names = system.readNames(path);
  } catch (error) {
    if (isAbsent(error)) return;
    throw error;
  }
  for (const name of names) {
    const inside = `${path}/${name}`;
    if (system.lstat(inside).isDirectory()) removeTree(inside);
    else system.removeFile(inside);
  }
  system.removeFolder(path);
}
