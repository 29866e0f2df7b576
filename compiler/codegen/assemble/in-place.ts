/**
 * When a result may be written over an argument: once nothing reads the argument any more, or when the kernel that writes
 * the result reads of it only the very element that it writes.
 */
import type { Node } from "../../graph/node.ts";
import type { TensorType } from "../../graph/type.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import type { Kernel } from "../schedule/kernel.ts";
import type { Schedule } from "../schedule/scheduling.ts";

/** True when the stored node may lie where the input lies. */
export function mayOverwrite(planned: Schedule, input: Node, node: Node): boolean {
  const owner = planned.ownerOf(node);
  if (owner === null) return false;
  const at = planned.kernels.indexOf(owner);
  return planned.kernels.every((kernel, step) => {
    if (step < at || !planned.reads(kernel).has(input)) return true;
    return kernel === owner && readsOwnElement(planned, kernel, input, node);
  });
}

/** Every way from the kernel's stores to the input goes through maps over the result's own axes. */
function readsOwnElement(planned: Schedule, kernel: Kernel, input: Node, root: Node): boolean {
  if ((kernel.kind !== "map" && kernel.kind !== "contraction") || order(input.type) !== order(root.type)) return false;
  const seen = new Set<string>();
  const visit = (node: Node, same: boolean): boolean => {
    if (node === input) return same;
    const owner = planned.ownerOf(node);
    const key = `${node.id} ${same}`;
    if (seen.has(key) || (owner !== null && owner !== kernel)) return true;
    seen.add(key);
    const isMap = (ops[node.op].lowering as Lowering<typeof node.op>).kind === "map";
    return node.inputs.every((x) => visit(x, same && isMap && labels(x.type) === labels(root.type)));
  };
  return kernel.stores.every((s) => visit(s.node, s.node === root));
}

function order(type: TensorType): string {
  return type.axes.map((a) => a.name).join();
}

function labels(type: TensorType): string {
  return type.axes
    .map((a) => a.name)
    .sort()
    .join();
}
