/**
 * Values that only a token's position and constants decide, and that need a loose WGSL function (sin, pow, ...) or a list
 * of numbers, become tables that the host fills in float64: rotary angles, for instance. In the graph a table is a parameter read at the
 * position. Limits: one table per such value; along P it has a row per position of the cache.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { scalarFunction } from "../../graph/scalar.ts";
import { allFunctions, outputNodes, rewriteProgram, topologicalOrder } from "../../graph/traverse.ts";
import { TIME, findAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import type { Table } from "../../plan/plan.ts";
import { isScalarOp } from "../../plan/scalar.ts";
import { POSITION, scalarOf } from "./scalar.ts";

/** Paths of tables in the graph start with this; no parameter's path can. */
const PREFIX = "table:";

/** Of one table's expression. */
const MOST_TERMS = 1024;

/** Adds the tables that the program needs to `tables`, by their text, so that programs share them. */
export function tabulateProgram(program: Program, b: Builder, tables: Map<string, Table>): Program {
  const roots = new Set(allFunctions(program).flatMap((fn) => rootsOf(outputNodes(fn))));
  return rewriteProgram(program, (node, inputs) =>
    roots.has(node) ? readTable(node, tables, b) : b.must(node.op, inputs, node.attrs, node.origin),
  );
}

/** The table that a parameter node stands for. */
export function tableOf(param: Node<"param">): string | null {
  return param.attrs.path.startsWith(PREFIX) ? param.attrs.path.slice(PREFIX.length) : null;
}

/** The last nodes of what can be tabulated and is worth it: those that are wanted by something which is no part of a table. */
function rootsOf(outputs: readonly Node[]): readonly Node[] {
  const nodes = topologicalOrder(outputs);
  const pure = new Set<Node>();
  const loose = new Set<Node>();
  const terms = new Map<Node, number>();
  for (const node of nodes) {
    if (!isPure(node, pure)) continue;
    const count = termsOf(node, terms);
    // What is too long is computed from a table of what it reads.
    if (count > MOST_TERMS) continue;
    terms.set(node, count);
    pure.add(node);
    if (isOp(node, "values") || scalarFunction(node.op)?.loose === true || node.inputs.some((x) => loose.has(x)))
      loose.add(node);
  }
  const isArray = (node: Node): boolean => node.type.dtype === "f32" && node.type.axes.length > 0;
  const roots: Node[] = [];
  // Tables hold floats: what is made of them in another dtype is computed, from a table of what it reads.
  const computed = new Set<Node>(outputs);
  for (const node of nodes.toReversed()) {
    if (!computed.has(node)) continue;
    if (loose.has(node) && isArray(node)) roots.push(node);
    else node.inputs.forEach((x) => computed.add(x));
  }
  return roots;
}

/** How long a node's expression is, in which nothing is shared; a join's parts each have the index again. */
function termsOf(node: Node, known: ReadonlyMap<Node, number>): number {
  const below = node.inputs.reduce((sum, x) => sum + known.get(x)!, 1);
  return isOp(node, "merge") ? below * node.attrs.axes.length : below;
}

function isPure(node: Node, pure: ReadonlySet<Node>): boolean {
  const fixed = node.type.axes.every((a) => a.size.value !== null || a.name === TIME);
  if (!fixed || !node.inputs.every((x) => pure.has(x))) return false;
  if (isOp(node, "iota")) return node.attrs.axis.name !== TIME;
  if (isOp(node, "position")) return node.attrs.axis.name === TIME;
  const lowering = ops[node.op].lowering as Lowering<typeof node.op>;
  if (lowering.kind === "map") return isScalarOp(node.op);
  const touched = JSON.stringify(node.attrs).includes(`"${TIME}"`);
  return (
    isOp(node, "constant") ||
    isOp(node, "values") ||
    ((lowering.kind === "view" || lowering.kind === "concat") &&
      (!touched || isOp(node, "broadcast") || isOp(node, "transpose")))
  );
}

function readTable(node: Node, tables: Map<string, Table>, b: Builder): Node {
  const own = node.type.axes.filter((a) => a.name !== TIME);
  const time = findAxis(node.type, TIME);
  const expr = scalarOf(node, new Map(own.map((a) => [a.name, a.name])));
  const axes = own.map((a) => ({ name: a.name, size: a.size.value ?? 0 }));
  const shape = time === null ? axes : [{ name: POSITION, size: "P" as const }, ...axes];
  const key = JSON.stringify([shape, expr]);
  const table = tables.get(key) ?? { id: `table${tables.size}`, axes: shape, expr };
  tables.set(key, table);
  const position = { name: POSITION, size: Dim.of("P"), origin: null };
  const type = { dtype: "f32" as const, axes: time === null ? own : [position, ...own] };
  const param = b.must("param", [], { path: `${PREFIX}${table.id}`, type }, node.origin);
  if (time === null) return param;
  const picked = b.must("take", [param, b.must("position", [], { axis: time })], { axis: POSITION }, node.origin);
  return b.transpose(
    picked,
    node.type.axes.map((a) => a.name),
  );
}
