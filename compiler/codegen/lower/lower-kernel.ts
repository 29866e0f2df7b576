/** A scheduled kernel as code: one dispatch, or one per part of a weight. */
import type { Kernel } from "../schedule/kernel.ts";
import { lowerAttend } from "./attend-kernel.ts";
import { lowerAttendGrad } from "./attend-grad-kernel.ts";
import { lowerContraction } from "./contraction-kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { lowerGroup } from "./group-kernel.ts";
import { lowerMap } from "./map-kernel.ts";
import { lowerOuter } from "./outer-kernel.ts";
import { lowerRecurrence } from "./recurrence-kernel.ts";
import { lowerSpread } from "./spread-kernel.ts";
import { lowerRow } from "./row-kernel.ts";

/** Calls have no code of their own: whoever assembles the plan puts their function's kernels in their place. */
export function lowerKernel(
  kernel: Exclude<Kernel, { kind: "call" }>,
  id: string,
  context: LowerContext,
): readonly Lowered[] {
  switch (kernel.kind) {
    case "map":
      return [lowerMap(kernel, id, context)];
    case "row":
      return [lowerRow(kernel, id, context)];
    case "contraction":
      return lowerContraction(kernel, id, context);
    case "outer":
      return lowerOuter(kernel, id, context);
    case "spread":
      return [lowerSpread(kernel, id, context)];
    case "attend":
      return [lowerAttend(kernel, id, context)];
    case "attend-grad":
      return [lowerAttendGrad(kernel, id, context)];
    case "recurrence":
      return [lowerRecurrence(kernel, id, context)];
    case "group":
      return [lowerGroup(kernel, id, context)];
    default:
      return kernel satisfies never;
  }
}
