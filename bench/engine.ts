/**
 * What is measured, and what an engine must offer to be measured. Every engine runs in a process of its own
 * (`worker.ts`), so that threads, shader caches and crashes stay apart; `run.ts` asks them in turns.
 */

export interface Task {
  readonly title: string;
  readonly unit: string;
}

/** Bigger is better in all of them, so that a ratio always reads the same way. */
export const tasks = {
  matmul: { title: "matrix product, 1024 x 1024 x 1024, f32", unit: "GFLOP/s" },
  matvec: { title: "vector times matrix, 1024 x 4096, f32", unit: "GB/s" },
  prefill: { title: "mixture of experts, 50.1 M parameters: prompt of 128 tokens", unit: "tokens/s" },
  decode: { title: "mixture of experts, 50.1 M parameters: tokens after it", unit: "tokens/s" },
  "train-forward": { title: "Llama of 1.3 M parameters: the loss of 4 x 256 tokens", unit: "tokens/s" },
  "train-step": { title: "Llama of 1.3 M parameters: a step of AdamW over 4 x 256 tokens", unit: "tokens/s" },
  "fma-peak": { title: "multiply-adds in registers", unit: "GFLOP/s" },
  "streaming-read": { title: "reading 64 MiB once", unit: "GB/s" },
  dispatches: { title: "dispatches of one workgroup, in one pass", unit: "per second" },
  submits: { title: "submits of one dispatch", unit: "per second" },
} as const satisfies Readonly<Record<string, Task>>;

export type TaskName = keyof typeof tasks;

/** `value` is in the task's unit: the median of a few repetitions, made while nothing else of the benchmark runs. */
export interface Measurement {
  readonly value: number;
  readonly unit: string;
}

export interface Engine {
  /** As in the table: the program, where it runs, the format of its weights. */
  readonly name: string;
  readonly runsOn: "gpu" | "cpu";
  readonly tasks: readonly TaskName[];
  /** Loads everything and warms up what is compiled lazily. Called once. */
  prepare(): Promise<void>;
  measure(task: TaskName): Promise<Measurement>;
}

/** A file that exports `engines`. */
export interface EngineModule {
  readonly engines: readonly Engine[];
}

export function measurement(task: TaskName, value: number): Measurement {
  return { value, unit: tasks[task].unit };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Median seconds of `count` calls, one after the other. */
export async function timeCalls(count: number, call: () => Promise<unknown>): Promise<number> {
  const seconds: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await call();
    seconds.push((performance.now() - start) / 1000);
  }
  return median(seconds);
}
