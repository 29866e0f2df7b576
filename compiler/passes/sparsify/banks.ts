/**
 * Rows that each have their own matrix of a bank: `dot[D](a [N, Z, D], w [N, F, D])`. Experts that chose their tokens are such rows. It is
 * the routed contraction whose index says n for every row of bank n, so the kernels for routed contractions run it.
 */
import type { Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { matchMatrix, viewWeight } from "../../graph/matrix.ts";
import { rewriteProgram } from "../../graph/traverse.ts";
import type { Axis } from "../../graph/type.ts";
import { findAxis, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import { freshLabel } from "../../ops/gradient.ts";

export function routeBanks(program: Program, b: Builder): Program {
  return rewriteProgram(program, (node, inputs) => {
    const made = b.must(node.op, inputs, node.attrs, node.origin);
    return routeByRow(b, made) ?? made;
  });
}

function routeByRow(b: Builder, dot: Node): Node | null {
  if (!isOp(dot, "dot") || matchMatrix(dot) !== null) return null;
  for (const [a, w] of [dot.inputs, [...dot.inputs].reverse()] as [Node, Node][]) {
    const bank = bankOf(dot, a, w);
    if (bank === null) continue;
    const own = freshLabel(bank.name, [a.type, w.type]);
    const [rows] = a.type.axes.filter((x) => x.name !== bank.name && !dot.attrs.axes.includes(x.name));
    const index = b.broadcast(b.rename(b.iota(bank), bank.name, own), [rows!]);
    const routed = b.must("dot", [b.rename(a, bank.name, own), b.take(w, index, bank.name)], dot.attrs, dot.origin);
    return b.transpose(
      b.rename(routed, own, bank.name),
      dot.type.axes.map((x) => x.name),
    );
  }
  return null;
}

/** The one axis that rows and weight share, where there is one other axis of rows. */
function bankOf(dot: Node<"dot">, a: Node, w: Node): Axis | null {
  const view = viewWeight(w);
  if (view === null || view.picked !== null) return null;
  const rows = a.type.axes.filter((x) => !dot.attrs.axes.includes(x.name));
  const shared = rows.filter((x) => hasAxis(w.type, x.name));
  const columns = w.type.axes.filter((x) => !dot.attrs.axes.includes(x.name) && !hasAxis(a.type, x.name));
  const [bank] = shared;
  return bank !== undefined && shared.length === 1 && rows.length === 2 && columns.length > 0
    ? findAxis(a.type, bank.name)
    : null;
}
