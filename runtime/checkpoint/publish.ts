/** How output gets under its final name: checked before, flushed, and shown by one rename. */
import { open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";

/** Throws `checkpoint/target-exists` unless the name is free or holds a checkpoint that may be replaced. */
export async function checkTarget(target: string, overwrite: boolean): Promise<void> {
  const found = await stat(target).catch(() => null);
  if (found === null) return;
  if (!overwrite) {
    throw failure("checkpoint/target-exists", `\`${target}\` exists already`, {
      help: "choose another name, or allow it to be replaced with `--overwrite`",
    });
  }
  const names = found.isDirectory() ? await readdir(target) : [];
  const isCheckpoint = names.some((name) => name.endsWith(".safetensors"));
  if (isCheckpoint || (found.isDirectory() && names.length === 0)) return;
  throw failure("checkpoint/target-exists", `\`${target}\` is not a checkpoint, and is not replaced`, {
    help: "choose another name, or remove it yourself",
  });
}

/** Bytes left on the disk that holds `path`, or will hold it: of the nearest folder that is there. */
export async function freeBytes(path: string): Promise<number> {
  const found = await statfs(path).catch(() => null);
  if (found !== null) return found.bavail * found.bsize;
  return path === dirname(path) ? 0 : freeBytes(dirname(path));
}

/** Throws `checkpoint/disk-full`, with both numbers. */
export async function checkSpace(target: string, needed: number): Promise<void> {
  const free = await freeBytes(target);
  if (needed <= free) return;
  throw failure(
    "checkpoint/disk-full",
    `\`${target}\` needs ${gigabytes(needed)}, its disk has ${gigabytes(free)} left`,
    {
      help: "free some space, or write to another disk",
    },
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(3)} GB`;

/** A directory cannot replace a full one in one step: the old one is moved aside, and moved back if the new one fails. */
export async function publish(directory: string, target: string, overwrite: boolean): Promise<void> {
  await checkTarget(target, overwrite); // it may have come into being in the meantime
  const aside = join(dirname(target), `.${basename(target)}.replaced`);
  const found = await stat(target).catch(() => null);
  if (found !== null) {
    await rm(aside, { recursive: true, force: true });
    await rename(target, aside);
  }
  try {
    await rename(directory, target);
  } catch (cause) {
    if (found !== null) await rename(aside, target);
    throw cause;
  }
  await flushDirectory(dirname(target));
  await rm(aside, { recursive: true, force: true });
}

export async function writeFlushed(path: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes names durable. Windows cannot open a directory, and needs no flush of it. */
export async function flushDirectory(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().finally(() => handle.close());
}

/** Errors of the operating system become ours; our own, and bugs, stay what they are. */
export async function attempt<T>(target: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const { syscall, code } = cause as NodeJS.ErrnoException;
    if (syscall === undefined) throw cause;
    if (code === "ENOSPC")
      throw failure("checkpoint/disk-full", `the disk became full while \`${target}\` was written`, {
        help: "free some space, and run the same command again",
      });
    throw failure("checkpoint/write-failed", `\`${target}\` cannot be written: ${(cause as Error).message}`);
  }
}
