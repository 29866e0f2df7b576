/**
 * Warnings about a router's route, found in the graph of its results `index` and `weight`: weights that teach those parameters nothing
 * which made the choice, and a state that is to balance the choice and gets into the weights (Wang et al. 2024, arXiv 2408.15664:
 * the bias "is only used for selection").
 */
import type { DiagnosticBag, Label } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import type { GraphFunction, Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { stateOfUpdate } from "../graph/path.ts";
import { topologicalOrder } from "../graph/traverse.ts";
import { differentiable } from "./differentiable.ts";

/** `at` is the router's declaration. */
export function lintRoute(bag: DiagnosticBag, router: GraphFunction, at: Span): void {
  const result = (name: string): Node | null =>
    router.outputs.find((o) => o.role === "result" && o.name === name)?.node ?? null;
  const [index, weight] = [result("index"), result("weight")];
  if (index === null || weight === null) return;
  const states = new Set(router.outputs.flatMap((o) => (o.role === "update" ? [stateOfUpdate(o.name)] : [])));
  const chosen = topologicalOrder([index]).filter((n) => isOp(n, "param"));
  const learnt = new Set(differentiable(weight));
  const learning = chosen.filter((n) => !states.has(n.attrs.path));
  const place = (span: Span | null, text: string): Label[] => (span === null ? [] : [{ span, text }]);
  if (learning.length > 0 && !learning.some((n) => learnt.has(n)))
    bag.warn(
      "lint/route-gradient",
      "the weights of this route do not depend on the parameters that choose, so these learn nothing from what was chosen",
      [
        ...place(weight.origin, "the weights"),
        ...place(learning[0]?.origin ?? null, "chooses"),
        { span: at, text: "in this router" },
      ],
      "weight each choice by its score: `take[N](softmax[N](z), i)`",
    );
  const mixed = new Set(floatsOf(weight));
  for (const node of chosen) {
    if (states.has(node.attrs.path) && mixed.has(node))
      bag.warn(
        "lint/bias-leak",
        `\`${node.attrs.path}\` is updated to balance what is chosen, and changes the weights too`,
        [
          ...place(weight.origin, "in the weights"),
          ...place(node.origin, "the state"),
          { span: at, text: "in this router" },
        ],
        "add it only to what `topk` chooses by, and weight by the scores without it: `take[N](s, i)`",
      );
  }
}

/** All that a value is computed from by float arithmetic; what an index was computed from is no part of it. */
function floatsOf(from: Node): readonly Node[] {
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node) || node.type.dtype !== "f32") return;
    seen.add(node);
    node.inputs.forEach(visit);
  };
  visit(from);
  return [...seen];
}
