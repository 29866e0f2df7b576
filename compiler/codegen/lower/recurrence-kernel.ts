/** Recurrences along time as kernels, each sequence's tokens of the step from its state and back to it. */
import type { RecurrenceKernel } from "../schedule/kernel.ts";
import type { Node } from "../../graph/node.ts";
import { ops } from "../../ops/table.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { lowerDelta } from "./delta-kernel.ts";
import { lowerScan } from "./scan-kernel.ts";

export function lowerRecurrence(kernel: RecurrenceKernel, id: string, context: LowerContext): Lowered {
  const { node } = kernel;
  return ops[node.op].lowering.kind === "scan"
    ? lowerScan(kernel, node as Node<"scan">, id, context)
    : lowerDelta(kernel, node as Node<"delta_rule">, id, context);
}
