/** Long reading, told of while it goes on: others get their turn, and a signal is looked at, some times a second. */
import { setImmediate } from "node:timers/promises";
import { checkAborted } from "../../abort.ts";

export interface DataProgress {
  /** The source's name. */
  readonly source: string;
  readonly doing: "reading" | "tokenising";
  /** Bytes of its files. */
  readonly done: number;
  readonly total: number;
}

export interface WorkOptions {
  readonly onProgress?: ((progress: DataProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Work {
  /** Bytes of a file, as they are read. */
  readonly see: (bytes: Uint8Array) => void;
  /** To be called often. Throws what the signal says. */
  readonly pause: () => Promise<void>;
}

const MILLISECONDS = 50;

export function startWork(
  source: string,
  doing: DataProgress["doing"],
  total: number,
  { onProgress, signal }: WorkOptions,
): Work {
  let done = 0;
  let last = -Infinity;
  return {
    see: (bytes) => void (done += bytes.length),
    async pause() {
      if (performance.now() - last < MILLISECONDS) return;
      checkAborted("openData", signal);
      onProgress?.({ source, doing, done, total });
      await setImmediate();
      last = performance.now();
    },
  };
}
