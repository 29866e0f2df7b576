/**
 * The file system: everything in `runtime/` and `cli/` reaches it through this module alone. A call that a signal interrupted is made
 * again, one that the system refuses throws a `FileError`, and tests can make any of them fail (`faults.ts`). Calls about names wait;
 * reading and flushing, which may take long, also come as promises.
 */
import * as fs from "node:fs";
import { FileError } from "./error.ts";
import { Killed, strike } from "./faults.ts";

export type Stats = fs.BigIntStats;

export const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY, O_APPEND, O_NONBLOCK = 0 } = fs.constants;

/** Follows links. */
export const stat = (path: string): Stats => call("stat", path, () => fs.statSync(path, { bigint: true }));
export const lstat = (path: string): Stats => call("lstat", path, () => fs.lstatSync(path, { bigint: true }));
export const realpath = (path: string): string => call("realpath", path, () => fs.realpathSync.native(path));
export const readLink = (path: string): string => call("readlink", path, () => fs.readlinkSync(path));
export const readNames = (path: string): string[] => call("readdir", path, () => fs.readdirSync(path));
export const statDisk = (path: string): fs.StatsFs => call("statfs", path, () => fs.statfsSync(path));
/** Throws unless it may be written to. */
export const checkWritable = (path: string): void => call("access", path, () => fs.accessSync(path, fs.constants.W_OK));
export const makeFolder = (path: string): void => call("mkdir", path, () => fs.mkdirSync(path));
/** Only an empty one. */
export const removeFolder = (path: string): void => call("rmdir", path, () => fs.rmdirSync(path));
export const removeFile = (path: string): void => call("unlink", path, () => fs.unlinkSync(path));
export const rename = (from: string, to: string): void => call("rename", to, () => fs.renameSync(from, to));
/** A second name of a file; it must not exist. */
export const link = (from: string, to: string): void => call("link", to, () => fs.linkSync(from, to));

/** A file that is open. Its position is never used: reads and writes say where. */
export interface OpenFile {
  readonly path: string;
  /** Its number, for other threads. */
  readonly fd: number;
  stat(): Stats;
  /** How many bytes were read: 0 only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  readNow(target: Uint8Array, position: number): number;
  /** All of them. With `null` at the end of a file that was opened to append. */
  write(bytes: Uint8Array, position: number | null): void;
  setMode(mode: number): void;
  setOwner(user: number, group: number): void;
  setSize(bytes: number): void;
  /** Until the disk has it. `flushData` leaves out when it was written. */
  flush(): Promise<void>;
  flushNow(): void;
  flushData(): Promise<void>;
  /** Harmless when it is closed. */
  close(): void;
}

/** `mode`: of a new file, less what the process does not allow. */
export function openFile(path: string, flags: number, mode = 0o666): OpenFile {
  const fd = call("open", path, () => fs.openSync(path, flags, mode));
  let isOpen = true;
  return {
    path,
    fd,
    stat: () => call("fstat", path, () => fs.fstatSync(fd, { bigint: true })),
    read: (target, position) =>
      callLater("read", path, (end) => fs.read(fd, target, 0, target.byteLength, position, end)),
    readNow: (target, position) => call("read", path, () => fs.readSync(fd, target, 0, target.byteLength, position)),
    write: (bytes, position) => writeAll(fd, bytes, position, path),
    setMode: (mode) => call("fchmod", path, () => fs.fchmodSync(fd, mode)),
    setOwner: (user, group) => call("fchown", path, () => fs.fchownSync(fd, user, group)),
    setSize: (bytes) => call("ftruncate", path, () => fs.ftruncateSync(fd, bytes)),
    flush: () => callLater("fsync", path, (end) => fs.fsync(fd, end)),
    flushNow: () => call("fsync", path, () => fs.fsyncSync(fd)),
    flushData: () => callLater("fdatasync", path, (end) => fs.fdatasync(fd, end)),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      closeNow(fd, path);
    },
  };
}

/** The same for a file of which only the number is known. A write may take fewer bytes than it was given. */
export function writeAll(fd: number, bytes: Uint8Array, position: number | null, path: string | null = null): void {
  const put = (start: number, end: number): number =>
    fs.writeSync(fd, bytes, start, end - start, position === null ? null : position + start);
  for (let done = 0; done < bytes.byteLength;) {
    const tear = (): void => void put(done, done + ((bytes.byteLength - done) >> 1));
    done += call("write", path, () => put(done, bytes.byteLength), tear);
  }
}

function call<T>(syscall: string, path: string | null, action: () => T, tear?: () => void): T {
  for (;;) {
    try {
      strike(syscall, path, tear);
      return action();
    } catch (cause) {
      if (!isInterrupted(cause)) throw explain(cause, path, syscall);
    }
  }
}

async function callLater<T = void>(
  syscall: string,
  path: string,
  action: (end: (error: Error | null, value: T) => void) => void,
): Promise<T> {
  for (;;) {
    try {
      strike(syscall, path);
      return await new Promise<T>((resolve, reject) => {
        action((error, value) => (error ? reject(error) : resolve(value)));
      });
    } catch (cause) {
      if (!isInterrupted(cause)) throw explain(cause, path);
    }
  }
}

/** The number is free whatever the system answers: it is closed once, also by a process that is as good as killed. */
function closeNow(fd: number, path: string): void {
  try {
    try {
      strike("close", path);
    } finally {
      fs.closeSync(fd);
    }
  } catch (cause) {
    if (!isInterrupted(cause)) throw explain(cause, path);
  }
}

const isInterrupted = (cause: unknown): boolean => (cause as NodeJS.ErrnoException).code === "EINTR";

/** `tried` is the call's name, for what does not even get to the system: a name with a character that ends it. */
function explain(cause: unknown, path: string | null, tried?: string): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (code === "ERR_INVALID_ARG_VALUE" && tried !== undefined && path?.includes("\0") === true)
    return new FileError({ code: "EINVAL", syscall: tried }, path);
  if (cause instanceof Killed || code === undefined || syscall === undefined) return cause;
  return new FileError({ code, syscall }, path ?? undefined);
}
