/**
 * Experts that nobody chose are not computed: every selection is pushed towards the parameters, and kept there when the
 * function then does less work. A router's own logits stay dense that way, because its top-k needs all of them.
 */
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { outputNodes, rewriteFunction, topologicalOrder } from "../../graph/traverse.ts";
import type { Builder } from "../../ops/builder.ts";
import type { OpDef } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import { pushTake } from "./push.ts";

/** Any sizes with few rows wanted out of many would do. */
const TYPICAL = { T: 64, Q: 1, P: 64, S: 1 };

export function sparsifyProgram(program: Program, b: Builder): Program {
  const functions = new Map([...program.functions].map(([name, fn]) => [name, sparsify(fn, b)]));
  return { main: sparsify(program.main, b), functions };
}

function sparsify(fn: GraphFunction, b: Builder): GraphFunction {
  let now = fn;
  const tried = new Set<Node>();
  // The last first: a selection that stops at another one makes that smaller.
  const next = (): Node<"take"> | undefined =>
    topologicalOrder(outputNodes(now)).findLast(
      (n): n is Node<"take"> => isOp(n, "take") && n.inputs[0]!.inputs.length > 0 && !tried.has(n),
    );
  for (let take = next(); take !== undefined; take = next()) {
    tried.add(take);
    const [x, index] = take.inputs as [Node, Node];
    const { attrs } = take;
    const pushed = rewriteFunction(now, (node, inputs) => {
      const same = node.attrs === attrs && node.op === "take" && inputs[0] === x && inputs[1] === index;
      return same ? pushTake(b, x, attrs.axis, index) : b.must(node.op, inputs, node.attrs, node.origin);
    });
    if (work(pushed) < work(now)) now = pushed;
  }
  return now;
}

/** Floating-point operations of everything that the outputs need. */
export function work(fn: GraphFunction): number {
  return topologicalOrder(outputNodes(fn)).reduce((sum, node) => {
    const row = ops[node.op] as OpDef<typeof node.op>;
    const flops = row.flops(
      node.inputs.map((n) => n.type),
      node.attrs,
      node.type,
    );
    return sum + flops.evaluate(TYPICAL);
  }, 0);
}
