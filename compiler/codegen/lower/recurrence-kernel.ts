/** Recurrences along time as kernels, each sequence's tokens of the step from its state and back to it. */
import type { RecurrenceKernel } from "../schedule/kernel.ts";
import { isOp } from "../../graph/node.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { lowerDelta } from "./delta-kernel.ts";
import { lowerScan } from "./scan-kernel.ts";

export function lowerRecurrence(kernel: RecurrenceKernel, id: string, context: LowerContext): Lowered {
  const { node } = kernel;
  return isOp(node, "scan") ? lowerScan(kernel, node, id, context) : lowerDelta(kernel, node, id, context);
}
