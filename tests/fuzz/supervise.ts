/**
 * Runs inputs in a worker and ends it when one takes too long or too much memory: time is processor time of the worker, so that a busy
 * machine finds nothing that an idle one does not. What was ended is a finding, and the next worker goes on behind it.
 */
import { Worker } from "node:worker_threads";
import type { KindName } from "./kinds.ts";
import { kinds } from "./kinds.ts";
import { Random } from "./random.ts";
import type { Found, Task } from "./worker.ts";

export interface Options {
  readonly kind: KindName;
  readonly seed: number;
  readonly from: number;
  readonly count: number;
  /** Ends before `count` when it says so. */
  readonly isOver?: () => boolean;
  readonly isMinimising?: boolean;
  readonly onProgress?: (tally: Tally) => void;
}

export interface Tally {
  readonly tried: number;
  readonly taken: number;
  readonly refused: number;
  readonly findings: readonly Found[];
}

/** Processor time that one input may take, beyond any that a sound one needs. */
const MOST_SECONDS = 10;
/** Time on the clock in which a worker must use its processor at all: one that waits for ever uses none. */
const MOST_SECONDS_IDLE = 120;
const HEAP_MEGABYTES = 700;
const LOOK_MILLISECONDS = 250;

export async function supervise(options: Options): Promise<Tally> {
  const { kind, seed, from, count, isOver = () => false, isMinimising = false } = options;
  const beat = new SharedArrayBuffer(16);
  const state = new Int32Array(beat);
  const findings: Found[] = [];
  const end = from + count;
  const tally = (reached: number): Tally => ({
    tried: reached - from,
    taken: Atomics.load(state, 1),
    refused: Atomics.load(state, 2),
    findings,
  });
  let next = from;
  while (next < end) {
    Atomics.store(state, 0, next - 1);
    const known = findings.map((f) => f.signature);
    const worker = new Worker(new URL("./worker.ts", import.meta.url), {
      workerData: { kind, seed, from: next, to: end, beat, known, isMinimising } satisfies Task,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES },
    });
    worker.on("message", (found: Found) => findings.push(found));
    const failure = await watch(worker, state, isOver, () => options.onProgress?.(tally(Atomics.load(state, 0))));
    const reached = Atomics.load(state, 0);
    if (failure === "over") return tally(reached);
    if (failure === null) break;
    if (reached < next) throw new Error(`the bench of ${kind} does not open: ${failure}`);
    const bench = await (await kinds[kind].open())(await emptyFolder());
    const { at, text } = bench.make(new Random(seed, reached));
    findings.push({ input: reached, at, text, signature: failure, detail: "" });
    next = reached + 1;
  }
  return tally(end);
}

async function emptyFolder(): Promise<string> {
  const { mkdtemp } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  return mkdtemp(join(tmpdir(), "moec-fuzz-"));
}

/** Null when the worker came to its end; else why it did not. */
async function watch(
  worker: Worker,
  state: Int32Array,
  isOver: () => boolean,
  tell: () => void,
): Promise<string | null> {
  let ended: string | null | undefined;
  worker.on("error", (error: NodeJS.ErrnoException) => {
    ended = error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out of memory" : `the worker ended: ${error.message}`;
  });
  worker.on("exit", () => (ended = ended === undefined ? null : ended));
  let at = -2;
  let [used, seen] = [0, performance.now()];
  while (ended === undefined) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS));
    tell();
    if (ended !== undefined) break;
    if (isOver()) {
      await worker.terminate();
      return "over";
    }
    const reached = Atomics.load(state, 0) + Atomics.load(state, 3);
    const { user, system } = await worker.cpuUsage().catch(() => ({ user: 0, system: 0 }));
    const now = (user + system) / 1e6;
    if (reached !== at) [at, used, seen] = [reached, now, performance.now()];
    else if (now - used > MOST_SECONDS || performance.now() - seen > 1000 * MOST_SECONDS_IDLE) {
      await worker.terminate();
      return now - used > MOST_SECONDS ? `no end after ${MOST_SECONDS} s` : `waits without end`;
    }
  }
  return ended;
}
