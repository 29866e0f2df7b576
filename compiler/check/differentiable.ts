/** Where gradients go, for warnings: through float operands of differentiable ops, up to `detach` and what is pooled over a step. */
import type { Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { ops } from "../ops/table.ts";

/** Everything that a gradient reaches from a node, itself first. */
export function differentiable(from: Node): readonly Node[] {
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node) || node.type.dtype !== "f32") return;
    seen.add(node);
    const stops = isOp(node, "detach") || (isOp(node, "pool") && node.attrs.scope === "global");
    if (!stops && ops[node.op].vjp !== null) node.inputs.forEach(visit);
  };
  visit(from);
  return [...seen];
}
