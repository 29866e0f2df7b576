/** One engine in a process of its own: `node worker.ts FILE NAME`, then a task's name in, its measurement out. */
import { type EngineModule, type Measurement, type TaskName } from "./engine.ts";

/** What the process says, in order: once `ready` (or `failed`), then an answer to each task. */
export type Answer =
  | {
      readonly kind: "ready";
      readonly tasks: readonly TaskName[];
      readonly runsOn: "gpu" | "cpu";
      readonly seconds: number;
    }
  | { readonly kind: "measured"; readonly measurement: Measurement }
  | { readonly kind: "failed"; readonly reason: string };

const [file = "", name = ""] = process.argv.slice(2);
if (process.send) await serve();

async function serve(): Promise<void> {
  const { engines } = (await import(`./${file}`)) as EngineModule;
  const engine = engines.find((e) => e.name === name);
  if (!engine) throw new Error(`${file} has no engine "${name}"`);
  const start = performance.now();
  await answer(async () => {
    await engine.prepare();
    const { tasks, runsOn } = engine;
    return { kind: "ready", tasks, runsOn, seconds: (performance.now() - start) / 1000 };
  });
  process.on("message", (task: TaskName) => {
    void answer(async () => ({ kind: "measured", measurement: await engine.measure(task) }));
  });
  process.on("disconnect", () => process.exit(0));
}

async function answer(work: () => Promise<Answer>): Promise<void> {
  const say = (what: Answer) => process.send?.(what);
  try {
    say(await work());
  } catch (error) {
    say({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
}
