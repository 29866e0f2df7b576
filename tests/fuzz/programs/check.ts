/** Everything that a random program is put through, as one list of what was wrong. */
import type { Program } from "../../../compiler/graph/node.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { checkBatch, checkPasses, checkText } from "./check-passes.ts";
import { checkGradients, differentiate } from "./check-gradients.ts";
import { checkGpu } from "./check-gpu.ts";
import type { Verdict } from "./determined.ts";
import { type Case, LONGEST } from "./generate.ts";
import type { Variant } from "./variants.ts";

export const executors = ["text", "passes", "batch", "gradients", "gpu", "gradients on the gpu"] as const;

export type Executor = (typeof executors)[number];

export interface Fault {
  readonly executor: Executor;
  /** Alike for faults of one kind: what was thrown or wrong, without numbers. */
  readonly kind: string;
  readonly message: string;
}

/** Executors that find nothing to do for a case do not count. */
export interface Report {
  readonly ran: readonly Executor[];
  readonly undetermined: readonly Executor[];
  readonly faults: readonly Fault[];
}

export const withoutGpu: readonly Executor[] = ["text", "passes", "batch", "gradients"];

/** Runs a case through some executors; one that fails does not stop the others. */
export async function checkCase(
  test: Case,
  wanted: readonly Executor[],
  gpu: TestGpu | null,
  variant?: Variant,
): Promise<Report> {
  const [ran, undetermined, faults] = [[] as Executor[], [] as Executor[], [] as Fault[]];
  for (const executor of wanted) {
    try {
      const verdict = await run(executor, test, gpu, variant);
      if (verdict === null) continue;
      ran.push(executor);
      if (verdict.undetermined > 0) undetermined.push(executor);
      const [first] = verdict.wrong;
      if (first !== undefined)
        faults.push({
          executor,
          kind: `wrong${/^after [a-z ]+/.exec(first)?.[0].replace("after", " after") ?? ""}`,
          message: verdict.wrong.join("\n"),
        });
    } catch (error) {
      const { message, stack = "" } = error as Error;
      ran.push(executor);
      const kind = message.split("\n")[0]!.replaceAll(/["`].*?["`]|[\d.]+/g, "..");
      faults.push({ executor, kind: `throws ${kind}`, message: stack });
    }
  }
  return { ran, undetermined, faults };
}

async function run(executor: Executor, test: Case, gpu: TestGpu | null, variant?: Variant): Promise<Verdict | null> {
  switch (executor) {
    case "text":
      return { wrong: checkText(test), undetermined: 0 };
    case "passes":
      return checkPasses(test, LONGEST - 1);
    case "batch":
      return checkBatch(test, LONGEST - 2);
    case "gradients":
      return checkGradients(test, LONGEST - 1);
    case "gpu":
      return gpu === null ? null : checkGpu(test, gpu, variant);
    case "gradients on the gpu": {
      const program: Program | null = gpu === null ? null : differentiate(test);
      if (gpu === null || program === null) return null;
      return checkGpu({ ...test, program, whole: true }, gpu, variant);
    }
    default:
      return executor satisfies never;
  }
}
