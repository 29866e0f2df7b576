/** Views that only relabel: the same elements in the same row-major order, so that they cost nothing and share a buffer. */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";

/** The node whose bytes this one shows under other axes: itself when it is no such view. */
export function baseOf(node: Node): Node {
  let base = node;
  for (let next = through(base); next !== null; next = through(base)) base = next;
  return base;
}

/** True when two nodes are the same elements in the same order. */
export function sameBytes(a: Node, b: Node): boolean {
  return baseOf(a) === baseOf(b);
}

function through(node: Node): Node | null {
  const [x] = node.inputs;
  if (x === undefined) return null;
  if (isOp(node, "rename") || isOp(node, "split")) return x;
  if (isOp(node, "merge")) {
    const labels = x.type.axes.map((a) => a.name);
    const first = labels.indexOf(node.attrs.axes[0] ?? "");
    return node.attrs.axes.every((name, i) => labels[first + i] === name) ? x : null;
  }
  // Axes of size one can be anywhere.
  if (isOp(node, "transpose")) {
    const wide = (n: Node) => n.type.axes.filter((a) => a.size.value !== 1).map((a) => a.name);
    return wide(node).join() === wide(x).join() ? x : null;
  }
  if (isOp(node, "broadcast")) return node.attrs.axes.every((a) => a.size.value === 1) ? x : null;
  return null;
}
