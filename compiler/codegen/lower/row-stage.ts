/**
 * One heavy node of a row kernel. A result with nothing inside the row is folded by all invocations together and stays
 * in a register; a list is cut over the invocations, each computing whole elements, and lies in workgroup memory.
 */
import type { Node } from "../../graph/node.ts";
import { findAxis } from "../../graph/type.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import type { Index } from "./indexing.ts";
import { hasRuns } from "./indexing.ts";
import { emitList, foldRow } from "./row-fold.ts";
import type { RowScope } from "./row-scope.ts";
import { emitCumsum, emitTopk } from "./row-order.ts";
import { emitSmallDot } from "./row-dot.ts";

/** Light nodes are no stages: they are computed where they are read. */
export function isStage(node: Node): boolean {
  return ["reduce", "choice", "running", "contraction"].includes(ops[node.op].lowering.kind);
}

export function emitStage(scope: RowScope, node: Node): void {
  const lowering = ops[node.op].lowering as Lowering<typeof node.op>;
  switch (lowering.kind) {
    case "reduce": {
      const [x] = node.inputs as [Node];
      const over = (node as Node<"sum">).attrs.axes.map((name) => findAxis(x.type, name)!);
      const element = (index: Index, run: string | null): string => scope.e.value(x, index, run);
      if (scope.inside(node).length === 0)
        foldRow(scope, node, over, hasRuns(x.type, over.at(-1)!.name), lowering.identity, lowering.combine, element);
      else
        emitList(scope, node, (index) =>
          scope.e.fold(over, node, index, null, lowering.identity, lowering.combine, element),
        );
      return;
    }
    case "contraction":
      return emitSmallDot(scope, node as Node<"dot">);
    case "choice":
      return emitTopk(scope, node as Node<"topk">);
    case "running":
      return emitCumsum(scope, node as Node<"cumsum">);
    default:
      throw new Error(`${node.op} is no stage of a row`);
  }
}
