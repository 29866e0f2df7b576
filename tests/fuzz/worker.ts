/** Where inputs run: one thread, which says in shared memory which input it is at, and can be ended from outside. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { judge } from "./judge.ts";
import type { Input } from "./kind.ts";
import { type KindName, kinds } from "./kinds.ts";
import { minimise } from "./minimise.ts";
import { Random } from "./random.ts";

export interface Task {
  readonly kind: KindName;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  /** Of the input that runs: Int32 0 is its number, 1 how many were taken, 2 how many refused; 3 counts what was tried of it. */
  readonly beat: SharedArrayBuffer;
  /** Failures that are known already are not told again. */
  readonly known: readonly string[];
  readonly isMinimising: boolean;
}

export interface Found {
  readonly input: number;
  readonly signature: string;
  readonly detail: string;
  readonly at: string;
  readonly text: string;
}

const task = workerData as Task;
const port = parentPort!;
const beat = new Int32Array(task.beat);
const folder = await mkdtemp(join(tmpdir(), "moec-fuzz-"));

try {
  const bench = await (await kinds[task.kind].open())(folder);
  const told = new Set(task.known);
  for (let i = task.from; i < task.to; i++) {
    Atomics.store(beat, 0, i);
    const input = bench.make(new Random(task.seed, i));
    const outcome = await judge(bench, input);
    if (outcome.kind !== "finding") Atomics.add(beat, outcome.kind === "taken" ? 1 : 2, 1);
    else if (!told.has(outcome.signature)) {
      told.add(outcome.signature);
      const text = task.isMinimising ? await smaller(input, outcome.signature) : input.text;
      port.postMessage({
        input: i,
        at: input.at,
        text,
        signature: outcome.signature,
        detail: outcome.detail,
      } satisfies Found);
    }
  }

  async function smaller({ at, text }: Input, signature: string): Promise<string> {
    return minimise(text, async (less) => {
      Atomics.add(beat, 3, 1);
      const outcome = await judge(bench, { at, text: less });
      return outcome.kind === "finding" && outcome.signature === signature;
    });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
