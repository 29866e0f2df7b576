/**
 * Numbers that the host computes in float64 before a step instead of every invocation in f32: the largest parts of a program that constants
 * and named inputs f32 [], such as the number of the step, alone decide.
 */
import type { Node, Output } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { rewriteNodes, topologicalOrder, usersOf } from "../../graph/traverse.ts";
import type { Builder } from "../../ops/builder.ts";
import type { HostScalar } from "../../plan/plan.ts";
import { evaluateScalar, isScalarOp, namesIn, type ScalarExpr } from "../../plan/scalar.ts";
import { scalarOf } from "./scalar.ts";

interface Split {
  readonly outputs: readonly Output[];
  readonly scalars: readonly HostScalar[];
}

/** `host` says what the inputs are; what is split off is read as a parameter f32 [] of the number's id, or is a constant. */
export function splitNumbers(outputs: readonly Output[], host: ReadonlyMap<string, ScalarExpr>, b: Builder): Split {
  const roots = outputs.map((o) => o.node);
  const nodes = topologicalOrder(roots);
  const own = new Set<Node>();
  for (const node of nodes) if (isNumber(node, host) && node.inputs.every((x) => own.has(x))) own.add(node);
  const users = usersOf(nodes);
  const scalars = new Map<string, HostScalar>();
  const isLast = (node: Node): boolean =>
    own.has(node) && node.type.dtype === "f32" && (roots.includes(node) || users.get(node)!.some((u) => !own.has(u)));
  const images = rewriteNodes(roots, (node, inputs) => {
    if (!isLast(node)) return b.must(node.op, inputs, node.attrs, node.origin);
    const expr = scalarOf(node, host);
    if (namesIn(expr).length === 0) return b.constant(evaluateScalar(expr, {}));
    const id = textOfScalar(expr);
    scalars.set(id, { id, expr });
    return b.must("param", [], { path: id, type: { dtype: "f32", axes: [] } }, node.origin);
  });
  return { outputs: outputs.map((o, i) => ({ ...o, node: images[i]! })), scalars: [...scalars.values()] };
}

/** Whether the host computes nodes of this kind. */
function isNumber(node: Node, host: ReadonlyMap<string, ScalarExpr>): boolean {
  if (node.type.axes.length > 0) return false;
  if (isOp(node, "input")) return host.has(node.attrs.name);
  return isOp(node, "constant") || isScalarOp(node.op);
}

/** `sub(1, pow(0.9, step))`: no parameter of a model has such a path. */
function textOfScalar(expr: ScalarExpr): string {
  if (typeof expr !== "object") return typeof expr === "string" ? `(${expr})` : String(expr);
  const [name, ...args] = expr;
  return `${name}(${args.map((arg) => (typeof arg === "string" ? arg : textOfScalar(arg))).join(", ")})`;
}
