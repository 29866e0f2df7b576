/**
 * The step form of a program: its tokens are some positions of some sequences, the rest is in states. Attention gets the
 * names of its caches; everything else works on single tokens already. An op that looks at later positions has no such
 * form, and the problem points at it.
 */
import type { Span } from "../../grammar/span.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { allFunctions, outputNodes, rewriteFunction, topologicalOrder } from "../graph/traverse.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import type { OpDef, TimeRule } from "../ops/define.ts";
import { ops } from "../ops/table.ts";
import { cacheAxes } from "../graph/cache.ts";

/** Why a program cannot be run token by token. */
export interface Peek {
  readonly kind: "peek";
  readonly code: "time/future" | "time/no-state";
  readonly message: string;
  readonly op: string;
  readonly origin: Span | null;
}

/** Every op on the way to the outputs that needs later positions, or state that no kernel keeps. */
export function findPeeks(program: Program): readonly Peek[] {
  return allFunctions(program).flatMap((fn) => {
    const totals = findTotals(fn);
    return topologicalOrder(outputNodes(fn)).flatMap((node) => (totals.has(node) ? [] : (peekOf(node) ?? [])));
  });
}

/** Metrics that are sums over time: a step gives its own tokens' part, and whoever runs the steps adds the parts up. */
function findTotals(fn: GraphFunction): ReadonlySet<Node> {
  const used = new Set(topologicalOrder(outputNodes(fn)).flatMap((node) => node.inputs));
  const ofResults = new Set(fn.outputs.flatMap(({ role, node }) => (role === "metric" ? [] : [node])));
  return new Set(
    fn.outputs.flatMap(({ role, node }) =>
      role === "metric" && isOp(node, "sum") && !used.has(node) && !ofResults.has(node) ? [node] : [],
    ),
  );
}

export function incrementaliseProgram(program: Program, b: Builder): Program {
  const functions = new Map(
    [...program.functions].map(([name, fn]) => [name, nameStates(fn, `${pathOf(program, name)}.`, b)]),
  );
  return { main: nameStates(program.main, "", b), functions };
}

/** How one node behaves along time. */
export function timeRule(node: Node): TimeRule {
  const row = ops[node.op] as OpDef<typeof node.op>;
  const types = node.inputs.map((x) => x.type);
  return row.time(node.attrs, types);
}

function peekOf(node: Node): Peek | null {
  if (isOp(node, "call")) return null;
  const rule = timeRule(node);
  const on = { op: node.op, origin: node.origin };
  if (rule === "future") {
    return {
      kind: "peek",
      code: "time/future",
      message: `\`${node.op}\` needs positions that do not exist yet when tokens are generated one by one`,
      ...on,
    };
  }
  if (rule === "causal" && !isOp(node, "attend")) {
    return {
      kind: "peek",
      code: "time/no-state",
      message: `\`${node.op}\` along time has no kernel that keeps its state between steps`,
      ...on,
    };
  }
  return null;
}

/** Keys and values get the axes of their caches, in their order, so that one token's row is one run of memory. */
function nameStates(fn: GraphFunction, prefix: string, b: Builder): GraphFunction {
  let count = 0;
  return rewriteFunction(fn, (node, inputs) => {
    if (!isOp(node, "attend")) return b.must(node.op, inputs, node.attrs, node.origin);
    const [q, k, v, ...sink] = inputs as [Node, Node, Node, ...Node[]];
    const { heads, key, value } = cacheAxes(b.must("attend", [q, k, v, ...sink], node.attrs));
    const arrange = (x: Node, channel: string): Node => {
      const missing = heads.filter((h) => !hasAxis(x.type, h.name));
      return b.transpose(b.broadcast(x, missing), [TIME, ...heads.map((h) => h.name), channel]);
    };
    const attrs = { ...node.attrs, state: `${prefix}attend${count++}` };
    return b.must("attend", [q, arrange(k, key.name), arrange(v, value.name), ...sink], attrs, node.origin);
  });
}

/** The path under which a function is called, with `#` for the layer. */
function pathOf(program: Program, fn: string): string {
  const call = topologicalOrder(outputNodes(program.main)).find(
    (n): n is Node<"call"> => isOp(n, "call") && n.attrs.fn === fn,
  );
  return call?.attrs.path.replace(/\[\d+\]$/, "[#]") ?? fn;
}
