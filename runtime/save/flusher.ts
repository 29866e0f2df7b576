/**
 * Makes the disk take what is written while the writing goes on. Left to the system, most of it would wait for the flush at the
 * end, and the disk would have been idle until then.
 */
import type { OpenFile } from "../files/system.ts";
import type { Journal } from "./journal.ts";

export interface Flusher {
  /** So many more bytes are written to a file. */
  add(file: OpenFile, bytes: number): void;
  /** Ends when none is under way. Throws what went wrong on the way. */
  end(): Promise<void>;
}

/** After so many bytes the disk is made to take them, beside the writing. A crash of the machine costs little more. */
export const FLUSH_BYTES = 256 << 20;

/** `handles`: all files, for any of them may have what an earlier run wrote. */
export function openFlusher(journal: Pick<Journal, "flush">, handles: readonly OpenFile[]): Flusher {
  let [waiting, isBusy] = [0, false];
  const files = new Set(handles);
  let last = Promise.resolve();
  const flush = async (): Promise<void> => {
    const written = [...files];
    files.clear();
    waiting = 0;
    isBusy = true;
    await journal.flush(async () => {
      await Promise.all(written.map((file) => file.flushData()));
    });
    // Stays busy after a failure: the next flush would tell the journal of bytes that this one has lost.
    isBusy = false;
  };
  return {
    add(file, bytes) {
      files.add(file);
      waiting += bytes;
      if (isBusy || waiting < FLUSH_BYTES) return;
      last = flush();
      // Whoever ends it hears of it.
      last.catch(() => undefined);
    },
    end: () => last,
  };
}
