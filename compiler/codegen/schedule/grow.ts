/**
 * Epilogues: how far the result of a heavy node can be carried on in its kernel. From the seeds, maps over the same axes
 * are added one after another; wherever a single node is all that the rest of the graph still reads, the kernel can end.
 */
import type { Node } from "../../graph/node.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Kernel } from "./kernel.ts";
import type { Scheduling, Uses } from "./scheduling.ts";

/** A place to end: the node to store, and every node that then needs no storing. */
export interface Epilogue {
  readonly root: Node;
  readonly inside: ReadonlySet<Node>;
}

/** Ends a kernel as far from its seeds as it can be; gives the node to store, or null where it cannot end. `own`: the seeds it has already. */
export function joinEpilogue(s: Scheduling, kernel: Kernel, seeds: readonly Node[], own = seeds): Node | null {
  for (const { root, inside } of [...growEpilogues(seeds, s.uses)].reverse()) {
    const more = [...inside].filter((n) => !own.includes(n));
    if (s.clusters.join(kernel, more)) return root;
  }
  return null;
}

/** Every place to end, the longest last; with one seed the first is the seed itself. */
function growEpilogues(seeds: readonly Node[], uses: Uses): readonly Epilogue[] {
  const inside = new Set(seeds);
  const axes = axesKey(seeds[0]!);
  const found: Epilogue[] = [];
  for (let step = 0; step < tuning.schedule.epilogue; step++) {
    const exits = [...inside].filter(
      (n) => uses.required.has(n) || (uses.users.get(n) ?? []).some((u) => !inside.has(u)),
    );
    const [root] = exits;
    if (root !== undefined && exits.length === 1) found.push({ root, inside: new Set(inside) });
    if (exits.some((n) => uses.required.has(n))) break;
    const outside = exits.flatMap((n) => uses.users.get(n) ?? []).filter((u) => !inside.has(u));
    const next = outside.reduce<Node | null>((a, b) => (a === null || uses.orderOf(b) < uses.orderOf(a) ? b : a), null);
    if (next === null || !isMap(next) || axesKey(next) !== axes || !uses.isFree(next)) break;
    inside.add(next);
  }
  return found;
}

function isMap(node: Node): boolean {
  return (ops[node.op].lowering as Lowering<typeof node.op>).kind === "map";
}

/** Labels in any order: a map may list them differently. */
function axesKey(node: Node): string {
  return node.type.axes
    .map((a) => a.name)
    .sort()
    .join();
}
