/** Steps that are the same for several layers, as one repeat. */
import type { Dispatch, Repeat } from "../../plan/plan.ts";

/** Adds steps for one index to the last repeat where that repeats the same ones, else as a repeat of their own. */
export function pushRepeat(steps: (Dispatch | Repeat)[], index: number, own: readonly Dispatch[]): void {
  const last = steps.at(-1);
  if (last?.kind === "repeat" && JSON.stringify(last.steps) === JSON.stringify(own))
    steps[steps.length - 1] = { ...last, indices: [...last.indices, index] };
  else steps.push({ kind: "repeat", indices: [index], steps: own });
}
