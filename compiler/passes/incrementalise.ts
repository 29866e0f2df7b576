/**
 * The step form of a program: its tokens are some positions of some sequences, the rest is in states. Causal ops get the
 * names of theirs; everything else works on single tokens already. An op that looks at later positions has no such
 * form, and the problem points at it.
 */
import type { Span } from "../../grammar/span.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { allFunctions, callKey, outputNodes, rewriteFunction, topologicalOrder } from "../graph/traverse.ts";
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
  const { main, functions } = separateCalls(program, b);
  const taken = new Map<string, number>();
  const named = [...functions].map(([name, { fn, path }]): [string, GraphFunction] => {
    // Several functions may be of the same layers: one called again, and the gradient of one.
    const before = taken.get(path) ?? 0;
    taken.set(path, before + 1);
    const own = before === 0 ? "" : `${before}.`;
    return [name, nameStates(fn, `${prefix}${path}.${own}`, b)];
  });
  return { main: nameStates(main, prefix, b), functions: new Map(named) };
}

interface Called {
  readonly fn: GraphFunction;
  /** The path under which it is called, with `#` for the layer. */
  readonly path: string;
}

/** A layer that is called again on something else keeps that apart: it has a function of its own, with the same parameters. */
function separateCalls(
  program: Program,
  b: Builder,
): { readonly main: GraphFunction; readonly functions: ReadonlyMap<string, Called> } {
  const functions = new Map<string, Called>();
  /** Of each layer of each function, the calls in their order. */
  const calls = new Map<string, string[]>();
  const names = new Map<Node, string>();
  for (const node of topologicalOrder(outputNodes(program.main))) {
    if (!isOp(node, "call")) continue;
    const { fn: name, path } = node.attrs;
    const fn = program.functions.get(name)!;
    const layer = `${name} ${path}`;
    const known = calls.get(layer) ?? [];
    const key = callKey(node);
    if (!known.includes(key)) calls.set(layer, [...known, key]);
    const again = (calls.get(layer) ?? []).indexOf(key);
    const own = again === 0 || !keepsSomething(fn) ? name : `${name}:${again + 1}`;
    names.set(node, own);
    functions.set(own, functions.get(own) ?? { fn: { ...fn, name: own }, path: templateOfLayer(path) });
  }
  for (const [name, fn] of program.functions) if (!functions.has(name)) functions.set(name, { fn, path: name });
  const main = rewriteFunction(program.main, (node, inputs) => {
    const fn = names.get(node);
    return b.must(node.op, inputs, fn === undefined ? node.attrs : { ...node.attrs, fn }, node.origin);
  });
  return { main, functions };
}

function keepsSomething(fn: GraphFunction): boolean {
  return topologicalOrder(outputNodes(fn)).some((node) => shapesOf(node).length > 0);
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
  const attended = new Map<Node, string>();
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
    const keys = arrange(k, key.name);
    const values = isOp(v, "slice") && v.inputs[0] === k ? b.must("slice", [keys], v.attrs) : arrange(v, value.name);
    // Two results of one softmax look at the same caches.
    const { part: _, ...attention } = node.attrs;
    const softmax = b.must("attend", [q, keys, values, ...sink], { ...attention, state: null });
    const state = attended.get(softmax) ?? nameOf("attend");
    attended.set(softmax, state);
    return b.must("attend", softmax.inputs, { ...node.attrs, state }, node.origin);
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
