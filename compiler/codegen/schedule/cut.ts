/**
 * Where a kernel that binds too many storage buffers is best cut: where both halves are narrow enough, or nearest to that together, each
 * nearer than the whole; of several such places, where the fewest elements pass through memory. Told from the kernel alone, without scheduling again.
 */
import type { Node } from "../../graph/node.ts";
import { ops } from "../../ops/table.ts";
import { perRow } from "./classify.ts";
import type { Kernel } from "./kernel.ts";
import { inBuffer, isInBuffer } from "./kernel.ts";
import type { Cut, Scheduling } from "./scheduling.ts";
import type { Piece } from "./storage.ts";
import { countOf, countStorage } from "./storage.ts";

/**
 * Null where every cut leaves one half as wide as the whole. Another kernel from a node on is tried all the same when nothing else is left: a
 * buffer that the code binds twice is in one half only, which the count does not know.
 */
export function chooseCut(s: Scheduling, kernel: Kernel, limit: number): Cut | null {
  const excess = (count: number): number => Math.max(0, count - limit);
  let best: { readonly cut: Cut; readonly rank: readonly number[] } | null = null;
  const now = excess(countStorage(s, kernel));
  for (const cut of cutsOf(s, kernel)) {
    const [first, second, between] = halvesOf(s, kernel, cut);
    const halves = [excess(countOf(s, kernel, first, new Set())), excess(countOf(s, kernel, second, between))] as const;
    const gains = now - Math.max(...halves);
    if (gains < 0 || (gains === 0 && cut.how === "memory")) continue;
    const size = [...between].reduce((n, node) => n + perRow(node), 0);
    const rank = [gains > 0 ? 0 : 1, halves[0] + halves[1], size];
    if (best === null || isBefore(rank, best.rank)) best = { cut, rank };
  }
  return best?.cut ?? null;
}

/** At the first place that differs, the smaller. */
function isBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((x, i) => x !== b[i]);
  return at >= 0 && a[at]! < b[at]!;
}

/** Every way to cut a kernel that has not been chosen yet. */
function cutsOf(s: Scheduling, kernel: Kernel): readonly Cut[] {
  // What a row computes or a kernel leaves in memory anyway ends nothing.
  const there = new Set(kernel.stores.flatMap((x) => (isInBuffer(x) ? [x.node] : [])));
  if (kernel.kind === "row") for (const node of kernel.computes) there.add(node);
  const memory = s.clusters
    .within(kernel)
    .flatMap((node): Cut[] =>
      ops[node.op].lowering.kind === "source" || s.cuts.memory.has(node) || there.has(node)
        ? []
        : [{ how: "memory", node }],
    );
  const apart = beginnings(kernel).flatMap((node): Cut[] => (s.cuts.apart.has(node) ? [] : [{ how: "apart", node }]));
  return [...memory, ...apart];
}

/** Nodes that another kernel could begin with: what a row works out after its first, other results of a map, other contractions of an activation. */
function beginnings(kernel: Kernel): readonly Node[] {
  switch (kernel.kind) {
    case "row":
      return kernel.computes.slice(1);
    case "map":
      return kernel.stores.slice(1).flatMap((x) => (isInBuffer(x) ? [x.node] : []));
    case "contraction":
      return kernel.groups.slice(1).map((g) => g.matrices[0]!.dot);
    case "outer":
    case "spread":
    case "attend":
    case "attend-grad":
    case "recurrence":
    case "group":
    case "call":
      return [];
    default:
      return kernel satisfies never;
  }
}

/** What comes before a cut and after it, and what the second reads of the first. */
function halvesOf(s: Scheduling, kernel: Kernel, { how, node }: Cut): readonly [Piece, Piece, ReadonlySet<Node>] {
  if (how === "memory") {
    const own = kernel.stores.filter((x) => x.node === node);
    const rest = kernel.stores.filter((x) => x.node !== node);
    const first = { computes: [], stores: own.length > 0 ? own : [inBuffer(node)] };
    return [first, { computes: [], stores: rest }, new Set([node])];
  }
  const depends = (x: Node): boolean => s.clusters.walkFrom([x], kernel).visits.some((v) => v.node === node);
  const after = new Set([...kernel.computes, ...kernel.stores.map((x) => x.node)].filter(depends));
  const before = kernel.computes.filter((x) => !after.has(x));
  const second = { computes: [...after], stores: kernel.stores.filter((x) => after.has(x.node)) };
  const stored = new Set(before);
  const between = new Set([...s.clusters.walkFrom([...after], kernel, stored).reads].filter((x) => stored.has(x)));
  const kept = kernel.stores.filter((x) => !after.has(x.node));
  const more = [...between].filter((x) => !kept.some((k) => k.node === x && isInBuffer(k)));
  const first = { computes: before, stores: [...kept, ...more.map(inBuffer)] };
  return [first, second, between];
}
