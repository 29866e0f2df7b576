/**
 * `metrics.jsonl` of a run: a line is appended as soon as it is known. A run that is resumed from a checkpoint has done its later steps for
 * nothing, so their lines are cut off, with a last one that a kill has torn. `flush` comes before a checkpoint has its name, so that the lines
 * of its steps are there whenever it is.
 */
import { dirname } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { flushFolder } from "../files/disk.ts";
import { kindOf } from "../files/read.ts";
import { lookAt } from "../files/target.ts";
import { O_APPEND, O_CREAT, O_RDWR, openFile, type OpenFile } from "../files/system.ts";
import { formatRecord, parseRecord, type TrainingRecord } from "./record.ts";

export interface MetricsFile {
  write(record: TrainingRecord): void;
  /** Until the disk has every line. */
  flush(): Promise<void>;
  close(): void;
}

/**
 * The file at `path` with the lines of steps up to `after`; a new one where there is none. Throws `train/bad-metrics` where it holds other
 * lines, which are not cut, `file/special`, `file/failed`.
 */
export function openMetrics(path: string, after: number): MetricsFile {
  const found = lookAt(path);
  const kind = found === null ? null : kindOf(found);
  if (kind !== null)
    throw failure("file/special", `\`${path}\` is ${kind}, not a file`, { help: "move it to another place" });
  if (found !== null) cutBehind(path, after);
  const file = openFile(path, O_CREAT | O_APPEND | O_RDWR);
  if (found === null) flushFolder(dirname(path));
  return {
    write: (record) => file.write(new TextEncoder().encode(formatRecord(record)), null),
    flush: () => file.flushData(),
    close: () => file.close(),
  };
}

/** Steps come in their order, so what is behind the first line that is too late is too late as well. */
function cutBehind(path: string, after: number): void {
  const file = openFile(path, O_RDWR);
  try {
    const end = findEnd(file, after);
    if (end === Number(file.stat().size)) return;
    file.setSize(end);
    file.flushNow();
  } finally {
    file.close();
  }
}

const CHUNK_BYTES = 1 << 20;

/** Where the first line begins that is later than step `after`, or is not whole. */
function findEnd(file: OpenFile, after: number): number {
  const bytes = new Uint8Array(CHUNK_BYTES);
  const decoder = new TextDecoder();
  let [end, at, line] = [0, 0, 0];
  let rest: Uint8Array = new Uint8Array(0);
  for (let got = -1; got !== 0; at += got) {
    got = file.readNow(bytes, at);
    const all = new Uint8Array(rest.length + got);
    all.set(rest);
    all.set(bytes.subarray(0, got), rest.length);
    let start = 0;
    for (let stop = all.indexOf(10); stop >= 0; stop = all.indexOf(10, start)) {
      const record = parseRecord(file.path, ++line, decoder.decode(all.subarray(start, stop)));
      if (record.step > after) return end;
      end += stop + 1 - start;
      start = stop + 1;
    }
    rest = all.slice(start);
  }
  return end;
}
