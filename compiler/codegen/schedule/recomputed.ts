/**
 * Light values that are left in memory so that code ends. A light value is computed where it is wanted: at each index that views want it
 * at, once more, and those times multiply along a chain such as `y = y + roll[D](y, 1)`. Told from the graph alone, by bounds that no
 * usual model comes near; the times are counted as if no two paths led to the same index.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { ops } from "../../ops/table.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Role } from "./classify.ts";

/** `nodes`: inputs before users. Gives those to leave in memory besides the `required` ones. */
export function recomputedNodes(
  nodes: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  roles: ReadonlyMap<Node, Role>,
  required: ReadonlySet<Node>,
): ReadonlySet<Node> {
  const stored = new Set<Node>();
  const reach = new Map<Node, { readonly times: number; readonly depth: number }>();
  for (const node of nodes) {
    const kind = ops[node.op].lowering.kind;
    const light = roles.get(node)?.kind === "light" && kind !== "source" && !required.has(node);
    if (!light) {
      reach.set(node, { times: 1, depth: 0 });
      continue;
    }
    const below = node.inputs.map((x) => reach.get(x)!);
    const depth = 1 + Math.max(0, ...below.map((r) => r.depth));
    const times = Math.max(1, ...below.map((r) => r.times)) * indicesOf(users.get(node) ?? []);
    // A view is computed nowhere: what it shows is.
    const store = kind !== "view" && (times > tuning.schedule.times || depth > tuning.schedule.depth);
    if (store) stored.add(node);
    reach.set(node, store ? { times: 1, depth: 0 } : { times, depth });
  }
  return stored;
}

/** At how many indices a node is wanted for one element of what reads it. */
function indicesOf(users: readonly Node[]): number {
  const shifting = users.filter(isShifting).length;
  return Math.max(1, shifting + (shifting < users.length ? 1 : 0));
}

/** Reads its input at another index than its own. */
function isShifting(node: Node): boolean {
  if (isOp(node, "transpose") || isOp(node, "broadcast")) return false;
  return ["view", "gather", "concat", "delay"].includes(ops[node.op].lowering.kind);
}
