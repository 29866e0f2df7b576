/** An engine's process, seen from the benchmark: ask, wait for the answer. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Measurement, TaskName } from "./engine.ts";
import type { EngineEntry } from "./engines.ts";
import type { Answer } from "./worker.ts";

export interface RunningEngine {
  readonly name: string;
  readonly tasks: readonly TaskName[];
  readonly runsOn: "gpu" | "cpu";
  /** What loading and the first, compiling run took. */
  readonly prepareSeconds: number;
  measure(task: TaskName): Promise<Measurement>;
  stop(): void;
}

/** Starts and prepares an engine. Throws with the engine's own reason when it cannot. */
export async function startEngine({ file, name }: EngineEntry): Promise<RunningEngine> {
  const worker = fileURLToPath(new URL("./worker.ts", import.meta.url));
  const child = fork(worker, [file, name], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const ready = await nextAnswer(child);
  if (ready.kind !== "ready") {
    child.kill();
    throw new Error(ready.kind === "failed" ? ready.reason : "the engine answered before it was asked");
  }
  return {
    name,
    tasks: ready.tasks,
    runsOn: ready.runsOn,
    prepareSeconds: ready.seconds,
    async measure(task) {
      const answer = nextAnswer(child);
      child.send(task);
      const got = await answer;
      if (got.kind === "measured") return got.measurement;
      throw new Error(got.kind === "failed" ? got.reason : "the engine prepared itself twice");
    },
    // Some native libraries hang at their exit; there is nothing to save.
    stop: () => void child.kill("SIGKILL"),
  };
}

function nextAnswer(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve) => {
    const done = (answer: Answer) => {
      child.off("message", done);
      child.off("exit", died);
      resolve(answer);
    };
    const died = (code: number | null, signal: string | null) =>
      done({ kind: "failed", reason: `its process ended (${signal ?? `exit status ${code}`})` });
    child.on("message", done);
    child.on("exit", died);
  });
}
