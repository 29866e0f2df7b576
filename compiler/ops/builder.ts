/**
 * Makes typed nodes: the op's row infers the type, the graph interns the node. The front end calls `add` and reports a
 * mismatch; passes use `must` and the shorthands, where a mismatch is a bug and throws.
 */
import type { Span } from "../../grammar/span.ts";
import type { Attrs, OpName } from "../graph/attrs.ts";
import type { Graph, Node } from "../graph/node.ts";
import type { Mismatch } from "./mismatch.ts";
import { isMismatch } from "./mismatch.ts";
import { Shorthands } from "./shorthands.ts";
import { ops } from "./table.ts";

export class Builder extends Shorthands {
  readonly graph: Graph;

  constructor(graph: Graph) {
    super();
    this.graph = graph;
  }

  override add<O extends OpName>(
    op: O,
    inputs: readonly Node[],
    attrs: Attrs[O],
    origin: Span | null = null,
  ): Node<O> | Mismatch {
    const type = ops[op].infer(
      inputs.map((n) => n.type),
      attrs,
    );
    return isMismatch(type) ? type : this.graph.intern(op, inputs, attrs, type, origin);
  }
}
