/**
 * Kernels that bind no more storage buffers than the device allows. What fuses well may read a dozen; where that is too many,
 * something on the way is left in memory, whichever cut leaves the least excess, until everything fits. On most devices nothing is cut.
 */
import type { Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { lowerKernel } from "../lower/kernel.ts";
import type { Kernel } from "../schedule/kernel.ts";
import type { Schedule, ScheduleOptions } from "../schedule/schedule.ts";
import { schedule } from "../schedule/schedule.ts";
import type { FunctionContext } from "./function.ts";
import { probeContext } from "./function.ts";
import { storageBuffers } from "./verify.ts";

/** Schedules a function. A kernel that no cut makes narrow enough stays as it is, for the device to refuse. */
export function scheduleNarrow(
  outputs: readonly Node[],
  options: Omit<ScheduleOptions, "cuts">,
  context: FunctionContext,
): Schedule {
  const cuts = new Set<Node>();
  const attempt = (more: readonly Node[]): Attempt => {
    const made = schedule(outputs, { ...options, cuts: new Set([...cuts, ...more]) });
    const excesses = made.kernels.map((k) => excessOf(k, made, context));
    return {
      made,
      wide: made.kernels.filter((_, i) => excesses[i]! > 0),
      excess: excesses.reduce((a, b) => a + b, 0),
    };
  };
  for (let now = attempt([]); ;) {
    if (now.excess === 0) return now.made;
    let best: { readonly node: Node; readonly to: Attempt } | null = null;
    for (const node of new Set(now.wide.flatMap((k) => now.made.within(k)))) {
      if (isOp(node, "param") || cuts.has(node)) continue;
      const to = attempt([node]);
      if (to.excess < (best?.to.excess ?? now.excess)) best = { node, to };
    }
    if (best === null) return now.made;
    cuts.add(best.node);
    now = best.to;
  }
}

interface Attempt {
  readonly made: Schedule;
  readonly wide: readonly Kernel[];
  readonly excess: number;
}

/** Bindings of a kernel beside what its nodes name: a step's numbers, places of tokens, the order and the tiles of slots. */
const OTHERS = 5;

/** How many storage buffers a kernel binds above what the device allows. */
function excessOf(kernel: Kernel, made: Schedule, context: FunctionContext): number {
  if (kernel.kind === "call") return 0;
  const { maxStorageBuffers } = context.device;
  const params = made.within(kernel).filter((n) => isOp(n, "param")).length;
  const most = made.reads(kernel).size + params + 2 * kernel.stores.length + kernel.computes.length + OTHERS;
  if (most <= maxStorageBuffers) return 0;
  const lowered = lowerKernel(kernel, "kernel", probeContext(made, context));
  const widest = Math.max(0, ...lowered.map(({ module }) => storageBuffers(module)));
  return Math.max(0, widest - maxStorageBuffers);
}
