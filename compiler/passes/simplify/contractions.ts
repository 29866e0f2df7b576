/** Sums that a contraction can do on its way: a mixture over experts as one matrix product. */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { viewWeight } from "../../graph/matrix.ts";
import { hasAxis, sameType } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import type { SimplifyRule } from "./rule.ts";

export const contractions: readonly SimplifyRule[] = [
  {
    name: "sum[N](dot[F](a, w)) = dot[F, N](a, w) where N is an axis of both and of the parameter w",
    build: (n, b) => (isOp(n, "sum") ? absorb(n, n.inputs[0]!, null, b) : null),
  },
  {
    name: "sum[N](g * dot[F](a, w)) = dot[F, N](g * a, w) where g lacks the columns of w",
    build: (n, b) => {
      const [x] = n.inputs;
      if (!isOp(n, "sum") || x === undefined || !isOp(x, "mul")) return null;
      // By place: the gate may be the contraction itself.
      const at = x.inputs.findIndex((i) => isOp(i, "dot"));
      return at < 0 ? null : absorb(n, x.inputs[at]!, x.inputs[1 - at]!, b);
    },
  },
  {
    name: "dot[F, K](a, w) = sum[K](dot[F](a, w)) where K is of the index that picks w: each choice is a row of its own",
    build: (n, b) => (isOp(n, "dot") ? byChoice(n, b) : null),
  },
];

function byChoice(dot: Node<"dot">, b: Builder): Node | null {
  const index = dot.inputs.flatMap((x) => viewWeight(x)?.picked?.index ?? [])[0];
  const choices = dot.attrs.axes.filter((name) => index !== undefined && hasAxis(index.type, name));
  if (choices.length === 0 || choices.length === dot.attrs.axes.length) return null;
  const axes = dot.attrs.axes.filter((name) => !choices.includes(name));
  const next = b.sum(b.must("dot", dot.inputs, { axes }, dot.origin), choices);
  return sameType(next.type, dot.type) ? next : null;
}

function absorb(sum: Node<"sum">, dot: Node, gate: Node | null, b: Builder): Node | null {
  if (!isOp(dot, "dot")) return null;
  const { axes } = sum.attrs;
  for (const [a, w] of [dot.inputs, [...dot.inputs].reverse()] as [Node, Node][]) {
    const weight = viewWeight(w);
    if (weight === null || !axes.every((name) => hasAxis(a.type, name) && [...weight.labels.values()].includes(name)))
      continue;
    if (gate !== null && !gate.type.axes.every((x) => hasAxis(a.type, x.name))) continue;
    const scaled = gate === null ? a : b.times(gate, a);
    const order = sum.type.axes.map((x) => x.name);
    const next = b.must("dot", [scaled, w], { axes: [...dot.attrs.axes, ...axes] }, dot.origin);
    if (next.type.axes.length !== order.length) continue;
    const arranged = b.transpose(next, order);
    if (sameType(arranged.type, sum.type)) return arranged;
  }
  return null;
}
