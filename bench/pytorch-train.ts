/** PyTorch on the processor's threads, where `python3` (or what PYTHON names) has it: no rival on this adapter, but what people train small models with. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { type Engine, measurement, median } from "./engine.ts";
import { makeBatch, trainShape as shape } from "./train-shape.ts";

export const engines: readonly Engine[] = [makeEngine()];

const REPETITIONS = 3;

function makeEngine(): Engine {
  let ask: (task: string) => Promise<number>;
  const count = shape.sequences * shape.tokens;
  return {
    name: "pytorch cpu",
    runsOn: "cpu",
    tasks: ["train-forward", "train-step"],
    async prepare() {
      const python = process.env["PYTHON"] ?? "python3";
      const script = join(import.meta.dirname, "pytorch-train.py");
      const given = JSON.stringify({ ...shape, ...makeBatch() });
      const child = spawn(python, [script, given, `${availableParallelism()}`], { stdio: ["pipe", "pipe", "ignore"] });
      const lines = linesOf(child);
      if ((await lines()) !== "ready") throw new Error(`${python} has no torch`);
      ask = async (task) => {
        child.stdin.write(`${task}\n`);
        return Number(await lines());
      };
    },
    async measure(task) {
      const seconds: number[] = [];
      for (let i = 0; i < REPETITIONS; i++) seconds.push(await ask(task));
      return measurement(task, count / median(seconds));
    },
  };
}

/** One line after the other; null at the end, or where the program cannot be started. */
function linesOf(child: ChildProcessByStdio<Writable, Readable, null>): () => Promise<string | null> {
  const iterator = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<null>((resolve) => child.on("error", () => resolve(null)));
  return () =>
    Promise.race([iterator.next().then(({ value, done }) => (done === true ? null : String(value))), failed]);
}
