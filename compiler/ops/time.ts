/** How one node behaves along time. */
import type { OpName } from "../graph/attrs.ts";
import type { Node } from "../graph/node.ts";
import type { OpDef, TimeRule } from "./define.ts";
import { ops } from "./table.ts";

export function timeRule(node: Node): TimeRule {
  const row = ops[node.op] as OpDef<OpName>;
  return row.time(
    node.attrs,
    node.inputs.map((x) => x.type),
  );
}
