/**
 * Kernels that bind no more storage buffers than the device allows. What fuses well may read a dozen; where that is too many, each such
 * kernel says where it is best cut, and the function is scheduled again with those nodes in memory. On most devices nothing is cut.
 */
import type { Node } from "../../graph/node.ts";
import { lowerKernel } from "../lower/lower-kernel.ts";
import type { Kernel } from "../schedule/kernel.ts";
import type { Schedule, ScheduleOptions } from "../schedule/scheduling.ts";
import { schedule } from "../schedule/schedule.ts";
import type { Sink } from "../schedule/sink.ts";
import type { FunctionContext } from "./function.ts";
import { probeContext } from "./function.ts";
import { storageBuffers } from "../../plan/verify.ts";

/** Schedules a function. A kernel that no cut makes narrower stays as it is, for the device to refuse. */
export function scheduleNarrow(
  outputs: readonly Node[],
  sinks: readonly Sink[],
  options: Omit<ScheduleOptions, "cuts">,
  context: FunctionContext,
): Schedule {
  const { maxStorageBuffers } = context.device;
  const cuts = { memory: new Set<Node>(), apart: new Set<Node>() };
  let walks = 0;
  for (let schedules = 1; ; schedules++) {
    const made = schedule(outputs, sinks, { ...options, cuts });
    walks += made.walks;
    const more = made.kernels.flatMap((kernel) => {
      const bound = storageOf(kernel, made, context);
      // What the code binds beyond the count, both halves may bind as well.
      if (bound <= maxStorageBuffers) return [];
      return made.cut(kernel, maxStorageBuffers - (bound - made.storage(kernel))) ?? [];
    });
    if (more.length === 0) {
      context.scheduled({ schedules, walks });
      return made;
    }
    for (const { how, node } of more) cuts[how].add(node);
  }
}

/** Storage buffers that a kernel binds, from its code where the count is near the limit. */
function storageOf(kernel: Kernel, made: Schedule, context: FunctionContext): number {
  if (kernel.kind === "call") return 0;
  const counted = made.storage(kernel);
  // A buffer may be bound twice, as scalars and as runs of four.
  if (2 * counted <= context.device.maxStorageBuffers) return counted;
  const lowered = lowerKernel(kernel, "kernel", probeContext(made, context));
  return Math.max(0, ...lowered.map(({ module }) => storageBuffers(module)));
}
