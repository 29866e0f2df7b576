/**
 * The step form of a program: its tokens are some positions of some sequences, the rest is in states. Causal ops get the
 * names of theirs; everything else works on single tokens already. An op that looks at later positions has no such
 * form, and the problem points at it.
 */
import type { Span } from "../../grammar/span.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { allFunctions, outputNodes, rewriteFunction, topologicalOrder } from "../graph/traverse.ts";
import { templateOfLayer } from "../graph/path.ts";
import { TIME, hasAxis } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import { shapesOf } from "../ops/states.ts";
import { timeRule } from "../ops/time.ts";
import { cacheAxes } from "../graph/cache.ts";

/** Why a program cannot be run token by token. */
export interface Peek {
  readonly kind: "peek";
  readonly code: "time/future";
  /** Says so of an expression, or of the op's name. */
  readonly message: (subject: string) => string;
  readonly op: string;
  readonly origin: Span | null;
}

/** Every op on the way to the outputs that needs later positions. */
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

/** `prefix` tells the states of programs apart that are compiled into one plan. */
export function incrementaliseProgram(program: Program, b: Builder, prefix = ""): Program {
  const functions = new Map(
    [...program.functions].map(([name, fn]) => [name, nameStates(fn, `${prefix}${pathOf(program, name)}.`, b)]),
  );
  return { main: nameStates(program.main, prefix, b), functions };
}

function peekOf(node: Node): Peek | null {
  if (isOp(node, "call")) return null;
  if (timeRule(node) !== "future") return null;
  return {
    kind: "peek",
    code: "time/future",
    message: (subject) => `\`${subject}\` needs positions that do not exist yet when tokens are generated one by one`,
    op: node.op,
    origin: node.origin,
  };
}

function nameStates(fn: GraphFunction, prefix: string, b: Builder): GraphFunction {
  const counts = new Map<string, number>();
  const nameOf = (op: string): string => {
    const count = counts.get(op) ?? 0;
    counts.set(op, count + 1);
    return `${prefix}${op}${count}`;
  };
  const reaches = longestDelays(fn);
  const delayed = new Map<Node, string>();
  return rewriteFunction(fn, (node, inputs) => {
    const rebuild = (attrs: object): Node => b.must(node.op, inputs, attrs as typeof node.attrs, node.origin);
    if (isOp(node, "cumsum") && node.attrs.axis === TIME) return runningSum(b, node, inputs[0]!, nameOf("cumsum"));
    if (shapesOf(node).length === 0) return rebuild(node.attrs);
    if (isOp(node, "scan") || isOp(node, "delta_rule")) return rebuild({ ...node.attrs, state: nameOf(node.op) });
    if (isOp(node, "delay")) {
      // Delays of one value look at the same rows.
      const [x] = node.inputs as [Node];
      const state = delayed.get(x) ?? nameOf("delay");
      delayed.set(x, state);
      return rebuild({ ...node.attrs, state, reach: reaches.get(x) });
    }
    if (!isOp(node, "attend")) return rebuild(node.attrs);
    // Keys and values get the axes of their caches, in their order, so that one token's row is one run of memory.
    const [q, k, v, ...sink] = inputs as [Node, Node, Node, ...Node[]];
    const { heads, key, value } = cacheAxes(b.must("attend", [q, k, v, ...sink], node.attrs));
    const arrange = (x: Node, channel: string): Node => {
      const missing = heads.filter((h) => !hasAxis(x.type, h.name));
      return b.transpose(b.broadcast(x, missing), [TIME, ...heads.map((h) => h.name), channel]);
    };
    const attrs = { ...node.attrs, state: nameOf("attend") };
    const keys = arrange(k, key.name);
    const values = isOp(v, "slice") && v.inputs[0] === k ? b.must("slice", [keys], v.attrs) : arrange(v, value.name);
    return b.must("attend", [q, keys, values, ...sink], attrs, node.origin);
  });
}

/** A sum along time is the recurrence that keeps all of what was. */
function runningSum(b: Builder, node: Node<"cumsum">, x: Node, state: string): Node {
  const attrs = { pair: null, reverse: false, state };
  const total = b.must("scan", [b.constant(1, x.type.dtype), x], attrs, node.origin);
  const whole = b.transpose(
    total,
    node.type.axes.map((a) => a.name),
  );
  return node.attrs.exclusive ? b.must("sub", [whole, x], {}, node.origin) : whole;
}

/** By delayed value, how far back any reader looks. */
export function longestDelays(fn: GraphFunction): ReadonlyMap<Node, number> {
  const longest = new Map<Node, number>();
  for (const node of topologicalOrder(outputNodes(fn))) {
    if (!isOp(node, "delay") || node.attrs.by <= 0) continue;
    const [x] = node.inputs as [Node];
    longest.set(x, Math.max(longest.get(x) ?? 0, node.attrs.by));
  }
  return longest;
}

/** The path under which a function is called, with `#` for the layer. */
function pathOf(program: Program, fn: string): string {
  const call = topologicalOrder(outputNodes(program.main)).find(
    (n): n is Node<"call"> => isOp(n, "call") && n.attrs.fn === fn,
  );
  return call === undefined ? fn : templateOfLayer(call.attrs.path);
}
