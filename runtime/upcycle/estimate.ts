/**
 * How long a transfer will take, from a short measurement: some of the source files are read, and a temporary file beside the
 * target is written and flushed. Files that were read lately come from the system's memory, so reading may be measured too
 * fast; both are told with the result. One disk does both, so their times add up.
 */
import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { checkOption, needed, object, orNull, text } from "../../grammar/option.ts";
import { removeIfAny, tryTo } from "../files/create.ts";
import { isFolder, openToRead } from "../files/read.ts";
import { O_CREAT, O_EXCL, O_WRONLY, openFile, type OpenFile } from "../files/system.ts";
import type { Transfer } from "./transfer.ts";

export interface Estimate {
  readonly seconds: number;
  /** Bytes per second. */
  readonly reading: number;
  readonly writing: number;
  /** False: nothing could be written where the target goes, and writing is taken to be as fast as reading. */
  readonly isWritingMeasured: boolean;
}

/** Bytes to try with, and the most time for it. */
const MOST_BYTES = 64 << 20;
/** Small ones: `save/sink.ts` says why. */
const CHUNK_BYTES = 1 << 18;
const MOST_SECONDS = 0.5;

/** `target` need not be there; null when it is not known yet. */
export async function estimateTransfer(transfer: Transfer, target: string | null): Promise<Estimate> {
  const planned = object("what `planUpcycle` or `planExport` gave", "checkpoints", "bytesRead", "bytesWritten");
  checkOption("estimateTransfer", "transfer", transfer, needed(planned));
  checkOption("estimateTransfer", "target", target, needed(orNull(text)));
  const reading = await measureReading(transfer);
  const measured = target === null ? null : await measureWriting(resolve(target), transfer.bytesWritten);
  const writing = measured ?? reading;
  const seconds = transfer.bytesRead / reading + transfer.bytesWritten / writing;
  return { seconds, reading, writing, isWritingMeasured: measured !== null };
}

async function measureReading({ checkpoints, bytesRead }: Transfer): Promise<number> {
  const files = checkpoints.flatMap((checkpoint) => checkpoint.files);
  const share = Math.min(MOST_BYTES, bytesRead) / files.length;
  const chunk = new Uint8Array(Math.max(1, Math.min(CHUNK_BYTES, share)));
  const begun = performance.now();
  let done = 0;
  for (const { path, bytes } of files) {
    const file = openToRead(path);
    try {
      // From the middle: the beginning has just been read.
      for (let at = Math.floor(bytes / 2), end = at + share; at < end; at += chunk.byteLength) {
        done += await file.read(chunk, at);
        if (secondsSince(begun) > MOST_SECONDS) return done / secondsSince(begun);
      }
    } finally {
      file.close();
    }
  }
  return done / secondsSince(begun);
}

async function measureWriting(target: string, bytesWritten: number): Promise<number | null> {
  const folder = findFolder(dirname(target));
  const path = join(folder, `.moec-${randomBytes(4).toString("hex")}`);
  let file: OpenFile | null = null;
  try {
    file = openFile(path, O_CREAT | O_EXCL | O_WRONLY);
    const chunk = new Uint8Array(Math.max(1, Math.min(CHUNK_BYTES, bytesWritten)));
    const begun = performance.now();
    let done = 0;
    while (done < Math.min(MOST_BYTES, bytesWritten) && secondsSince(begun) < MOST_SECONDS)
      done += write(file, chunk, done);
    await file.flushData();
    return done / secondsSince(begun);
  } catch {
    return null;
  } finally {
    tryTo(() => file?.close());
    tryTo(() => removeIfAny(path));
  }
}

function write(file: OpenFile, chunk: Uint8Array, position: number): number {
  file.write(chunk, position);
  return chunk.byteLength;
}

/** The folder, or the nearest above it that is there. */
function findFolder(path: string): string {
  return path === dirname(path) || isFolder(path) ? path : findFolder(dirname(path));
}

/** Never 0. */
function secondsSince(begun: number): number {
  return Math.max(1e-6, (performance.now() - begun) / 1000);
}
