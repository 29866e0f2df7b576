/** Flushes beside the writing: when they begin, what they cover, and what a failed one means. */
import { expect, test } from "vitest";
import type { OpenFile } from "../../../runtime/files/system.ts";
import { FLUSH_BYTES, type Flusher, openFlusher } from "../../../runtime/save/flusher.ts";

/** Files that tell of their flushes, all of which `end` ends. */
function watch(): { flusher: Flusher; files: OpenFile[]; log: string[]; end: (error?: Error) => Promise<void> } {
  const log: string[] = [];
  let waiting: PromiseWithResolvers<void>[] = [];
  const makeFile = (name: string): OpenFile => {
    const flushData = (): Promise<void> => {
      log.push(`flush ${name}`);
      const flush = Promise.withResolvers<void>();
      waiting.push(flush);
      return flush.promise;
    };
    return { flushData } as unknown as OpenFile;
  };
  const files = ["a", "b"].map(makeFile);
  const flush = async (flushData: () => Promise<void>): Promise<void> => {
    await flushData();
    log.push("noted");
  };
  const end = async (error?: Error): Promise<void> => {
    const all = waiting;
    waiting = [];
    for (const { resolve, reject } of all) {
      if (error === undefined) resolve();
      else reject(error);
    }
    await new Promise(setImmediate);
  };
  return { flusher: openFlusher({ flush }, files), files, log, end };
}

test("the first flush is of all files, the next of those written to since, one at a time", async () => {
  const { flusher, files, log, end } = watch();
  flusher.add(files[0]!, FLUSH_BYTES - 1);
  expect(log).toEqual([]);
  flusher.add(files[0]!, 1);
  expect(log.splice(0)).toEqual(["flush a", "flush b"]);
  flusher.add(files[1]!, 2 * FLUSH_BYTES);
  expect(log).toEqual([]);
  await end();
  expect(log.splice(0)).toEqual(["noted"]);
  flusher.add(files[1]!, 1);
  expect(log.splice(0)).toEqual(["flush b"]);
  await end();
  await flusher.end();
  expect(log).toEqual(["noted"]);
});

test("after one that failed nothing is noted any more, and the end tells", async () => {
  const { flusher, files, log, end } = watch();
  flusher.add(files[0]!, FLUSH_BYTES);
  await end(new Error("lost"));
  flusher.add(files[0]!, FLUSH_BYTES);
  await expect(flusher.end()).rejects.toThrow("lost");
  expect(log).toEqual(["flush a", "flush b"]);
});
