/**
 * How many storage buffers a kernel binds, told from what it reads, works out and leaves. Exact but for two things: a buffer that is
 * read both one by one and four at a time is bound twice, and one that is written over what it held only once.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { statesOf } from "../../ops/states.ts";
import { ops } from "../../ops/table.ts";
import { baseOf } from "./bytes.ts";
import type { Kernel, Store } from "./kernel.ts";
import { groupingOf } from "./kernel.ts";
import type { Scheduling } from "./scheduling.ts";

/** Storage buffers of a kernel. */
export function countStorage(s: Scheduling, kernel: Kernel): number {
  return storageOf(s, kernel, kernel).size;
}

/** Storage buffers of one kernel in place of two that do not read each other. */
export function countTogether(s: Scheduling, a: Kernel, b: Kernel): number {
  return new Set([...storageOf(s, a, a), ...storageOf(s, b, b)]).size;
}

/** Some of what a kernel does: nodes that it works out and leaves in memory. */
export interface Piece {
  readonly computes: readonly Node[];
  readonly stores: readonly Store[];
}

/** Storage buffers of a piece of a kernel, when these nodes lie in memory. */
export function countOf(s: Scheduling, kernel: Kernel, piece: Piece, stored: ReadonlySet<Node>): number {
  return storageOf(s, kernel, piece, stored).size;
}

/** A name for each. */
function storageOf(
  s: Scheduling,
  kernel: Kernel,
  piece: Piece,
  stored: ReadonlySet<Node> = new Set(),
): ReadonlySet<string> {
  const bound = new Set<string>();
  const matrices = new Set(kernel.kind === "contraction" ? kernel.groups.flatMap((g) => g.matrices) : []);
  const params = new Set([...matrices].map((m) => m.param));
  const roots = [...piece.computes, ...piece.stores.map((x) => x.node)];
  const { visits, reads } = s.clusters.walkFrom(roots, kernel, stored);
  for (const { node } of visits) {
    if (reads.has(node)) bound.add(`buffer ${baseOf(node).id}`);
    else if (isOp(node, "param")) {
      // A dispatch of a matrix in parts binds one of them.
      const parts = params.has(node) ? 1 : s.partsOf(node.attrs.path);
      for (let part = 0; part < parts; part++) bound.add(`${node.attrs.path} ${part}`);
    } else if (isOp(node, "position") || isOp(node, "length")) bound.add(node.op);
    else if (isOp(node, "sequence")) bound.add("slot");
    else if (ops[node.op].states !== undefined) {
      for (const { id } of statesOf(node)) bound.add(`state ${id}`);
      if (["scan", "memory"].includes(ops[node.op].lowering.kind)) bound.add("runs");
      else bound.add("position").add("slot");
    }
  }
  if (kernel.kind === "attend-grad") bound.add("slot").add("runs");
  for (const { node, state, kept } of piece.stores) {
    if (kept !== null) bound.add(`kept ${kept.id}`);
    else if (state === null) bound.add(`buffer ${baseOf(node).id}`);
    else bound.add(`state ${state.id}`).add("position").add("slot");
  }
  if (s.regime === "prefill" && groupingOf(kernel) !== null) bound.add("order").add("tiles");
  if (kernel.kind === "group") bound.add("index").add("order").add("tiles");
  return bound;
}
