/**
 * What a model costs, part by part: parameters, those of them that one token uses, bytes, floating-point operations,
 * bytes of cache. Everything follows from the program with its selections pushed to the parameters (`sparsify`): a
 * parameter that is only read through a selection of K choices out of N is used to K / N, and a contraction with it counts
 * K times; one that only meets the Z tokens of a sequence of T that were chosen is used to Z / T, on average. What is computed for
 * all tokens before some are chosen, such as keys, counts for all. No name is looked at.
 */
import { callback, checkOption, needed, number, whole } from "../grammar/option.ts";
import { absorbProgram } from "./passes/absorb/absorb.ts";
import { MODEL } from "./compile.ts";
import { Builder } from "./ops/builder.ts";
import type { OpDef } from "./ops/define.ts";
import { longestDelays } from "./passes/incrementalise.ts";
import { rowWidth, shapesOf } from "./ops/states.ts";
import { ops } from "./ops/table.ts";
import { Dim } from "./graph/dim.ts";
import { Graph, isOp } from "./graph/node.ts";
import type { GraphFunction, Node } from "./graph/node.ts";
import { fillPath } from "./graph/path.ts";
import { outputNodes, topologicalOrder, usersOf } from "./graph/traverse.ts";
import { type Axis, TIME, findAxis } from "./graph/type.ts";
import type { Instance } from "./language/interpret/value.ts";
import { buildProgram, newContext, type Model } from "./language/model/model.ts";
import { inlineCalls } from "./passes/simplify/inline.ts";
import { pruneProgram } from "./passes/simplify/prune.ts";
import { simplifyProgram } from "./passes/simplify/simplify.ts";
import { peeksOf } from "./pipeline.ts";
import { sparsifyProgram } from "./passes/sparsify/sparsify.ts";

/** Sums over all layers where `count` is more than 1. */
export interface Cost {
  readonly parameters: number;
  /** Parameters that one token uses: all, but the chosen share of routed banks and of tokens. A table that is looked up counts in full. */
  readonly active: number;
  /** As stored. */
  readonly bytes: number;
  /** Floating-point operations per token, those of attention left out; a multiplication and an addition are two. */
  readonly flops: number;
  /** Those of them in products with parameters, which papers count. */
  readonly products: number;
  /** Operations of attention for a token that sees the whole context, and for the mean one of a sequence as long: half, without a window. */
  readonly attention: number;
  readonly meanAttention: number;
  /** Bytes of keys and values per token of context, as long as a window does not leave any behind; none for what looks at later tokens. */
  readonly cache: number;
  /** Bytes that a sequence of the whole context keeps: keys and values still in view, states of recurrences, delayed rows. */
  readonly kept: number;
}

export interface Part {
  /** Path from the model, with holes (`graph/path.ts`) for the layers of a stack; empty for the model itself. */
  readonly path: string;
  readonly kind: "layer" | "stack" | "parameter";
  /** The declaration's name; for a parameter its axes. */
  readonly type: string;
  /** Layers of a stack, instances of a bank, else 1. */
  readonly count: number;
  /** Numbers of a stack's layers that are alike; empty for other parts. */
  readonly layers: readonly number[];
  readonly cost: Cost;
  readonly parts: readonly Part[];
}

/** `width` gives the bytes of one element of a parameter by its full path; `context` is the length of a sequence, in positions. */
export function accountModel(model: Model, width: (path: string) => number, context: number): Part {
  checkOption("accountModel", "model", model, MODEL);
  checkOption("accountModel", "width", width, needed(callback));
  checkOption("accountModel", "context", context, needed(whole(1)));
  const widthOf = (path: string): number => {
    const bytes = width(path);
    checkOption("accountModel", `width("${path}")`, bytes, needed(number(0)));
    return bytes;
  };
  const own = new Map<string, Cost>();
  const templates = templatesOf(model.instance);
  const add = (path: string, more: Partial<Cost>): void => {
    own.set(path, sumCosts([own.get(path) ?? NOTHING, { ...NOTHING, ...more }]));
  };
  const shares = addWork(model, context, templates, add);
  for (const { path, axes } of model.parameters) {
    const count = axes.reduce((n, a) => n * a.size, 1);
    const template = toTemplate(path, templates);
    add(template, { parameters: count, active: count * (shares.get(template) ?? 0), bytes: count * widthOf(path) });
  }
  return layerPart(model.instance, own, "layer", 1);
}

const NOTHING: Cost = {
  parameters: 0,
  active: 0,
  bytes: 0,
  flops: 0,
  products: 0,
  attention: 0,
  meanAttention: 0,
  cache: 0,
  kept: 0,
};

function sumCosts(costs: readonly Cost[]): Cost {
  const total = (key: keyof Cost): number => costs.reduce((n, cost) => n + cost[key], 0);
  return {
    parameters: total("parameters"),
    active: total("active"),
    bytes: total("bytes"),
    flops: total("flops"),
    products: total("products"),
    attention: total("attention"),
    meanAttention: total("meanAttention"),
    cache: total("cache"),
    kept: total("kept"),
  };
}

/** Template paths by layer: `blocks[3]` may be one of `blocks[#1]`. */
function templatesOf(instance: Instance): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (current: Instance, layers: ReadonlyMap<string, number>): void => {
    for (const member of current.members.values()) {
      if (member.kind === "layer") visit(member.instance, layers);
      if (member.kind !== "stack") continue;
      for (const [i, { path }] of member.layers.entries()) {
        const inner = new Map([...layers, [path, i]]);
        found.set(fillPath(path, inner), path);
        // As the function of the enclosing layer names it, where stacks are nested.
        found.set(fillPath(path, new Map([[path, i]])), path);
        visit(member.layers[i]!, inner);
      }
    }
  };
  visit(instance, new Map());
  return found;
}

/** The path in the function of its layer. */
function toTemplate(path: string, templates: ReadonlyMap<string, string>): string {
  const end = path.lastIndexOf("]") + 1;
  return (templates.get(path.slice(0, end)) ?? path.slice(0, end)) + path.slice(end);
}

/** Adds the work of every op to the part that it belongs to; gives the share of each parameter that one token uses. */
function addWork(
  model: Model,
  context: number,
  templates: ReadonlyMap<string, string>,
  add: (path: string, more: Partial<Cost>) => void,
): ReadonlyMap<string, number> {
  const b = new Builder(new Graph());
  const built = buildProgram(model.instance);
  const results = built.main.outputs.filter((o) => o.role === "result").map((o) => o.name);
  const simple = simplifyProgram(pruneProgram(inlineCalls(built, b), results, b), b);
  const program = sparsifyProgram(absorbProgram(simple, b), b);
  const keeps = canGenerate(model, results);
  const shares = new Map<string, number>();
  const calls = callsByFunction(program.main, templates);
  for (const fn of [program.main, ...program.functions.values()]) {
    const { path, times } = calls.get(fn.name) ?? { path: "", times: 1 };
    const nodes = topologicalOrder(outputNodes(fn));
    const users = usersOf(nodes);
    const reads = readersOf(nodes);
    const longest = longestDelays(fn);
    const owners = new Map<Node, string | null>();
    for (const node of nodes) {
      const owner = ownerOf(node, owners, path, templates);
      owners.set(node, owner);
      if (owner === null) continue;
      if (isOp(node, "param")) {
        const share = shareOf({ users, reads, context }, node, axisNames(node));
        const template = toTemplate(node.attrs.path, templates);
        shares.set(template, Math.max(shares.get(template) ?? 0, share));
      } else if (isOp(node, "attend")) {
        const row = 4 * times * shapesOf(node).reduce((n, shape) => n + rowWidth(shape.row), 0);
        const { window, chunk = null } = node.attrs;
        const seen = Math.min(context, window ?? context, chunk ?? context);
        // With one position in view, so that it can be scaled by the context.
        const each = flopsOf(node, 1) * times;
        // The number of positions in view grows with the token's own up to `seen`, and stays; or starts again with a chunk.
        const mean = chunk === seen ? seen / 2 : seen - (seen * seen) / (2 * context);
        const kept = keeps ? { cache: row, kept: row * seen } : {};
        add(owner, { attention: each * seen, meanAttention: each * (node.attrs.causal ? mean : seen), ...kept });
      } else {
        const flops = (flopsOf(node, context) / context) * times;
        const isProduct = isOp(node, "dot") && node.inputs.some((input) => parameterBehind(input) !== null);
        const kept = keeps ? 4 * times * lastRows(node, longest) : 0;
        add(owner, { flops, products: isProduct ? flops : 0, kept });
      }
    }
  }
  return shares;
}

/** Whether one of these results can be computed token by token: only then is something kept between steps. */
function canGenerate(model: Model, results: readonly string[]): boolean {
  const program = buildProgram(model.instance, newContext("build", undefined, "generate"));
  return results.some((result) => peeksOf(program, [result]).length === 0);
}

/** Numbers that a recurrence keeps. Delays of one value keep the rows of the longest. */
function lastRows(node: Node, longest: ReadonlyMap<Node, number>): number {
  if (isOp(node, "delay") && node.attrs.by < longest.get(node.inputs[0]!)!) return 0;
  return shapesOf(node).reduce((n, { row, rows }) => n + (rows.kind === "last" ? rows.count * rowWidth(row) : 0), 0);
}

/** Where a function is called from main, its layer's index replaced, and how often. */
function callsByFunction(
  main: GraphFunction,
  templates: ReadonlyMap<string, string>,
): ReadonlyMap<string, { readonly path: string; readonly times: number }> {
  const calls = new Map<string, Set<string>>();
  const paths = new Map<string, string>();
  for (const node of topologicalOrder(outputNodes(main))) {
    if (!isOp(node, "call")) continue;
    // The parts of one call are several nodes.
    const key = `${node.attrs.path} ${node.inputs.map((n) => n.id).join(" ")}`;
    calls.set(node.attrs.fn, (calls.get(node.attrs.fn) ?? new Set()).add(key));
    paths.set(node.attrs.fn, toTemplate(node.attrs.path, templates));
  }
  return new Map([...calls].map(([fn, keys]) => [fn, { path: paths.get(fn) ?? "", times: keys.size }]));
}

/**
 * An op belongs to the layer whose parameter it reads, else to the innermost layer that all its operands come from. Null:
 * it depends on positions alone, so it becomes a table and costs nothing per token.
 */
function ownerOf(
  node: Node,
  owners: ReadonlyMap<Node, string | null>,
  path: string,
  templates: ReadonlyMap<string, string>,
): string | null {
  if (isOp(node, "param")) return toTemplate(node.attrs.path, templates).split(".").slice(0, -1).join(".");
  if (isOp(node, "input") || isOp(node, "call")) return path;
  const direct = node.inputs.find((input) => parameterBehind(input) !== null);
  if (direct !== undefined) return owners.get(direct) ?? path;
  const known = node.inputs.flatMap((input) => owners.get(input) ?? []);
  return known.length === 0 ? null : known.reduce(commonPath);
}

/** The parameter that a node is a view or a selection of. */
function parameterBehind(node: Node): Node<"param"> | null {
  if (isOp(node, "param")) return node;
  const { kind } = ops[node.op].lowering;
  const [first] = node.inputs;
  return (kind === "view" || kind === "gather") && first !== undefined ? parameterBehind(first) : null;
}

function commonPath(a: string, b: string): string {
  const [left, right] = [a.split("."), b.split(".")];
  const end = left.findIndex((part, i) => part !== right[i]);
  return (end < 0 ? left : left.slice(0, end)).join(".");
}

/** Nodes whose values are those of tokens, not of parameters alone. */
function readersOf(nodes: readonly Node[]): ReadonlySet<Node> {
  const found = new Set<Node>();
  for (const node of nodes)
    if (isOp(node, "input") || isOp(node, "call") || node.inputs.some((i) => found.has(i))) found.add(node);
  return found;
}

interface Uses {
  readonly users: ReadonlyMap<Node, readonly Node[]>;
  readonly reads: ReadonlySet<Node>;
  readonly context: number;
}

const axisNames = ({ type }: Node): ReadonlySet<string> => new Set(type.axes.map((a) => a.name));

/**
 * How much of a parameter, or of what is made of parameters alone, the users of `node` read for one token, at most 1. `own` are its axes; a
 * user's others are rows, of which a sequence has so many.
 */
function shareOf(uses: Uses, node: Node, own: ReadonlySet<string>): number {
  const { users, reads, context } = uses;
  const rows = (axes: readonly Axis[]): number => Dim.product(axes.map((a) => a.size)).evaluate({ [TIME]: context });
  const share = (users.get(node) ?? []).reduce((sum, user) => {
    const [from, index] = user.inputs;
    if (isOp(user, "take") && from === node && index !== undefined && reads.has(index)) {
      const { axes } = index.type;
      const isTable = axes.every((a) => a.size.symbols.length > 0);
      const size = findAxis(node.type, user.attrs.axis)?.size.value ?? 1;
      return sum + rows(axes) / context / (isTable ? 1 : size);
    }
    if (reads.has(user)) return sum + rows(user.type.axes.filter((a) => !own.has(a.name))) / context;
    // A broadcast has its input's axes and others.
    return sum + shareOf(uses, user, isOp(user, "broadcast") ? own : axisNames(user));
  }, 0);
  return Math.min(1, share);
}

/** Of all tokens of a sequence of so many. */
function flopsOf(node: Node, tokens: number): number {
  const row = ops[node.op] as OpDef<typeof node.op>;
  return row
    .flops(
      node.inputs.map((n) => n.type),
      node.attrs,
      node.type,
    )
    .evaluate({ [TIME]: tokens });
}

function layerPart(instance: Instance, own: ReadonlyMap<string, Cost>, kind: "layer" | "stack", count: number): Part {
  const parts = [...instance.members.values()].flatMap((member): Part[] => {
    switch (member.kind) {
      case "parameter": {
        const { path, axes } = member.parameter;
        const type = `[${axes.map((a) => `${a.name}=${a.size.key}`).join(", ")}]`;
        return [{ path, kind: "parameter", type, count: 1, layers: [], cost: own.get(path) ?? NOTHING, parts: [] }];
      }
      case "layer": {
        const banks = member.instance.banks.slice(instance.banks.length);
        return [
          layerPart(
            member.instance,
            own,
            "layer",
            banks.reduce((n, a) => n * (a.size.value ?? 1), 1),
          ),
        ];
      }
      case "stack":
        return [...Map.groupBy(member.layers.keys(), (i) => member.layers[i]!)].map(([layer, layers]) => ({
          ...layerPart(layer, own, "stack", layers.length),
          layers,
        }));
      case "value":
      case "absent":
        return [];
    }
  });
  const cost = sumCosts([own.get(instance.path) ?? NOTHING, ...parts.map((p) => p.cost)]);
  return { path: instance.path, kind, type: instance.decl.name.text, count, layers: [], cost, parts };
}
