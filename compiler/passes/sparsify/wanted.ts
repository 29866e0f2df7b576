/**
 * Only some rows of the results are wanted: the selection is pushed down to the last layer, so that what follows runs on
 * those. Of a whole sequence all rows usually are, and are needed by all others: there it stays at the end. Metrics are of all tokens.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node, Program } from "../../graph/node.ts";
import { OWN, TIME, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import { pushTake } from "./push.ts";

export function selectWanted(program: Program, b: Builder, whole = false): Program {
  const { main } = program;
  const axis = { name: OWN.wanted, size: Dim.of("Q"), origin: null };
  const wanted: Node<"input"> = b.must("input", [], { name: "wanted", type: { dtype: "u32", axes: [axis] } });
  const select = (node: Node): Node => (whole ? b.take(node, wanted, TIME) : pushTake(b, node, TIME, wanted));
  const outputs = main.outputs.map((o) =>
    o.role !== "metric" && hasAxis(o.node.type, TIME) ? { ...o, node: select(o.node) } : o,
  );
  return { ...program, main: { ...main, inputs: [...main.inputs, wanted], outputs } };
}
