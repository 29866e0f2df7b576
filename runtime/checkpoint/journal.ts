/**
 * Output that outlives a kill. It is built in one hidden folder beside its final place, whose name follows from the target's:
 * `files/` is what will be renamed, `journal` says what it is going to be (a fingerprint of all that decides the bytes) and
 * which parts are written, `lock` who works on it. The next run with the same fingerprint goes on; another starts over. What a
 * process wrote outlives it, but not a crash of the whole machine: after that, only what was flushed before a `flushed` line counts.
 */
import { readFileSync } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rm } from "node:fs/promises";
import { hostname, uptime } from "node:os";
import { basename, dirname, join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";

/** `resumed`: parts of an earlier run are there. `restarted`: there was one of another fingerprint, which is gone now. */
export type Origin = "new" | "resumed" | "restarted";

export interface Journal {
  /** The folder that becomes the result. */
  readonly directory: string;
  readonly origin: Origin;
  /** What an earlier run noted, by part. */
  readonly done: ReadonlyMap<string, string>;
  /** Notes the fingerprint. Until then nothing can be resumed, since files may be missing. */
  begin(): Promise<void>;
  /** Notes a part that is written. */
  record(name: string, note: string): Promise<void>;
  /** Flushes what is written, and says so of the parts that were noted before; others may be noted meanwhile. */
  flush(flushData: () => Promise<void>): Promise<void>;
  /** Stops, and leaves all there is to a later run. */
  leave(): Promise<void>;
  /** Removes everything. */
  discard(): Promise<void>;
}

export function partialFolder(target: string): string {
  return join(dirname(target), `.${basename(target)}.partial`);
}

/** Folders that this process works on. */
const mine = new Set<string>();

/** Throws `checkpoint/busy` while another process writes to the same target. */
export async function openJournal(target: string, fingerprint: string): Promise<Journal> {
  const folder = partialFolder(target);
  await mkdir(folder, { recursive: true });
  await takeLock(folder, target);
  const [directory, path, lock] = ["files", "journal", "lock"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const found = await readJournal(path);
  const origin: Origin = found === null ? "new" : found.fingerprint === fingerprint ? "resumed" : "restarted";
  if (origin !== "resumed") {
    await rm(path, { force: true });
    await rm(directory, { recursive: true, force: true });
  }
  await mkdir(directory, { recursive: true });
  let file: FileHandle | null = origin === "resumed" ? await open(path, "a") : null;
  let lines = found?.done.size ?? 0;
  let last: Promise<void> = Promise.resolve();
  // One after the other, whoever asks.
  const append = (line: Line): Promise<void> => {
    if ("name" in line) lines++;
    last = last.then(async () => {
      file ??= await open(path, "a");
      await file.appendFile(`${JSON.stringify(line)}\n`);
    });
    return last;
  };
  const close = async (): Promise<void> => {
    await file?.close();
    file = null;
    mine.delete(folder);
  };
  return {
    directory,
    origin,
    done: origin === "resumed" ? found!.done : new Map(),
    begin: () => append({ fingerprint, boot: readBoot() }),
    record: (name, note) => append({ name, note }),
    flush: async (flushData) => {
      const noted = lines;
      await flushData();
      await append({ flushed: noted });
      await file!.datasync();
    },
    leave: async () => {
      await close();
      await rm(lock, { force: true });
    },
    discard: async () => {
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A start of a run; a part; how many parts are on the disk. */
type Line =
  | { readonly fingerprint: string; readonly boot: string }
  | { readonly name: string; readonly note: string }
  | { readonly flushed: number };

/** Changes when the machine starts. */
function readBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return String(Math.round((Date.now() / 1000 - uptime()) / 60));
  }
}

interface Found {
  readonly fingerprint: string;
  readonly done: ReadonlyMap<string, string>;
}

/** A line that a kill cut short, and what follows it, was never written. */
async function readJournal(path: string): Promise<Found | null> {
  const text = await readFile(path, "utf8").catch(() => "");
  let [fingerprint, boot, flushed] = ["", "", 0];
  const parts: [string, string][] = [];
  for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n")) {
    if (line === "") continue;
    let entry: Line;
    try {
      entry = JSON.parse(line) as Line;
    } catch {
      break;
    }
    if ("fingerprint" in entry) {
      // What an earlier start of the machine did not flush is not known to be there.
      if (boot !== "" && entry.boot !== boot) parts.length = flushed;
      ({ fingerprint, boot } = entry);
    } else if ("name" in entry) parts.push([entry.name, entry.note]);
    else ({ flushed } = entry);
  }
  if (boot !== readBoot()) parts.length = flushed;
  return fingerprint === "" ? null : { fingerprint, done: new Map(parts) };
}

async function takeLock(folder: string, target: string): Promise<void> {
  const path = join(folder, "lock");
  const own = `${process.pid} ${hostname()}`;
  for (;;) {
    const file = await open(path, "wx").catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "EEXIST") return null;
      throw cause;
    });
    if (file !== null) {
      await file.writeFile(own).finally(() => file.close());
      mine.add(folder);
      return;
    }
    const holder = await readFile(path, "utf8").catch(() => "");
    // A process that was killed leaves its lock behind, and its number may be ours now.
    if (holder === own ? mine.has(folder) : isAlive(holder))
      throw failure("checkpoint/busy", `another process is writing \`${target}\``, {
        notes: [`process ${holder.split(" ")[0]}, by \`${path}\``],
        help: "wait for it; if there is none, remove that file",
      });
    await rm(path, { force: true });
  }
}

function isAlive(holder: string): boolean {
  const [pid, host] = holder.split(" ");
  if (holder === "") return false; // killed between making the file and writing to it
  if (host !== hostname()) return true; // nobody here can know
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}
