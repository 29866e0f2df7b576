/**
 * Output that outlives a kill: beside what is written, `journal` says what it is going to be (a fingerprint of all that decides the
 * bytes) and which parts are written. The next run with the same fingerprint goes on; another starts over. What a process wrote
 * outlives it, but not a crash of the whole machine: after that, only what was flushed before a `flushed` line counts.
 */
import { uptime } from "node:os";
import { removeIfAny, tryTo } from "../files/create.ts";
import { makeFolders, removeTree } from "../files/disk.ts";
import { readBoot } from "../files/owner.ts";
import { readBytesIfAny } from "../files/read.ts";
import { openStaging, type Staging } from "../files/staging.ts";
import * as system from "../files/system.ts";
import { lookAt, type Output } from "../files/target.ts";
import { unwatch, watch } from "./temporary.ts";

/** `resumed`: parts of an earlier run are there. `restarted`: there was one of another fingerprint, which is gone now. */
export type Origin = "new" | "resumed" | "restarted";

export interface Journal {
  /** The folder that becomes the result. */
  readonly directory: string;
  readonly origin: Origin;
  /** What an earlier run noted, by part. */
  readonly done: ReadonlyMap<string, string>;
  /** Notes the fingerprint. Until then nothing can be resumed, since files may be missing. */
  begin(): void;
  /** Notes a part that is written. */
  record(name: string, note: string): void;
  /** Flushes what is written, and says so of the parts that were noted before; others may be noted meanwhile. */
  flush(flushData: () => Promise<void>): Promise<void>;
  /** Gives the folder its final name, and removes the rest. Throws what `Staging.publish` throws. */
  publish(): void;
  /** Stops, and leaves all there is to a later run. */
  leave(): void;
  /** Removes everything. */
  discard(): void;
}

/**
 * Without a fingerprint nothing outlives the process, whatever ends it: exit, Ctrl-C, a kill that can be caught. Throws what
 * `openStaging` throws.
 */
export function openJournal(target: string, output: Output, overwrite: boolean, fingerprint: string | null): Journal {
  const staging = openStaging(target, output, overwrite);
  let [found, isRead]: [Found | null, boolean] = [null, false];
  try {
    // A run that was killed when its files had their final name left a journal of nothing.
    [found, isRead] = [lookAt(staging.directory) === null ? null : readJournal(staging.journal), true];
    return fillStaging(staging, fingerprint, found);
  } catch (error) {
    tryTo(isRead && found?.fingerprint !== fingerprint ? staging.remove : staging.leave);
    throw error;
  }
}

function fillStaging(staging: Staging, fingerprint: string | null, found: Found | null): Journal {
  const { directory, journal: path } = staging;
  const isSame = found !== null && found.fingerprint === fingerprint;
  const origin: Origin = found === null ? "new" : isSame ? "resumed" : "restarted";
  if (!isSame) {
    removeIfAny(path);
    removeTree(directory);
  }
  makeFolders(directory);
  const { O_APPEND, O_CREAT, O_WRONLY } = system;
  let file: system.OpenFile | null = isSame ? system.openFile(path, O_WRONLY | O_APPEND) : null;
  if (isSame) file!.setSize(found.bytes);
  let lines = isSame ? found.done.size : 0;
  const append = (line: Line): void => {
    if (fingerprint === null) return;
    if ("name" in line) lines++;
    file ??= system.openFile(path, O_WRONLY | O_APPEND | O_CREAT);
    file.write(new TextEncoder().encode(`${JSON.stringify(line)}\n`), null);
  };
  if (fingerprint === null) watch(staging);
  const endWith = (last: () => void): void => {
    unwatch(staging);
    try {
      file?.close();
    } finally {
      file = null;
      last();
    }
  };
  return {
    directory,
    origin,
    done: isSame ? found.done : new Map(),
    begin: () => append({ fingerprint: fingerprint ?? "", boot: readBootOrMinute() }),
    record: (name, note) => append({ name, note }),
    async flush(flushData) {
      const noted = lines;
      await flushData();
      append({ flushed: noted });
      await file?.flushData();
    },
    publish: () => {
      staging.publish();
      endWith(staging.remove);
    },
    leave: () => endWith(fingerprint === null ? staging.remove : staging.leave),
    discard: () => endWith(staging.remove),
  };
}

/** A start of a run; a part; how many parts are on the disk. */
type Line =
  | { readonly fingerprint: string; readonly boot: string }
  | { readonly name: string; readonly note: string }
  | { readonly flushed: number };

/** Changes when the machine starts. */
const readBootOrMinute = (): string => readBoot() || String(Math.round((Date.now() / 1000 - uptime()) / 60));

interface Found {
  readonly fingerprint: string;
  readonly done: ReadonlyMap<string, string>;
  /** Of its whole lines. */
  readonly bytes: number;
}

/** A line that a kill cut short, and what follows it, was never written. */
function readJournal(path: string): Found | null {
  const text = Buffer.from(readBytesIfAny(path) ?? []);
  let [fingerprint, boot, flushed, bytes] = ["", "", 0, 0];
  const parts: [string, string][] = [];
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, bytes)) {
    let entry: Line;
    try {
      entry = JSON.parse(text.toString("utf8", bytes, end)) as Line;
    } catch {
      break;
    }
    bytes = end + 1;
    if ("fingerprint" in entry) {
      // What an earlier start of the machine did not flush is not known to be there.
      if (boot !== "" && entry.boot !== boot) parts.length = flushed;
      ({ fingerprint, boot } = entry);
    } else if ("name" in entry) parts.push([entry.name, entry.note]);
    else ({ flushed } = entry);
  }
  if (boot !== readBootOrMinute()) parts.length = flushed;
  return fingerprint === "" ? null : { fingerprint, done: new Map(parts), bytes };
}
