/**
 * `mean[blocks](share)`: over the layers of a stack that were applied so far, what each reports as the metric `share`. With it a model
 * states a loss that is about all of its routers together. Layers without such a metric do not count; one with two counts twice. Where none has one, the statement says nothing.
 */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Node } from "../../graph/node.ts";
import type { Env } from "./context.ts";
import { stackOfTemplate } from "../../graph/path.ts";
import { addNode } from "./add-node.ts";
import { report } from "./context.ts";
import { reportOutside } from "./pool.ts";
import type { StackMember, Value } from "./value.ts";
import { ERROR } from "./value.ts";

const JOINS = { sum: "add", mean: "add", max: "max", min: "min" } as const;

/** The stack that a reduction is over, if it is over one. */
export function stackOf(env: Env, name: string, brackets: readonly Expr[]): StackMember | null {
  const [only, ...more] = brackets;
  if (!(name in JOINS) || only?.kind !== "name" || more.length > 0 || env.locals.has(only.name.text)) return null;
  const member = env.instance?.members.get(only.name.text);
  return member?.kind === "stack" ? member : null;
}

export function reduceLayers(env: Env, stack: StackMember, name: string, expr: CallExpr): Value {
  if (!env.pools)
    return reportOutside(env, expr.span.file.text.slice(expr.callee.span.start, expr.callee.span.end), expr.span);
  const [arg, ...more] = expr.args;
  const metric = arg?.value.kind === "name" ? arg.value.name.text : null;
  const reported = reportedBy(env, stack);
  const nodes = reported.flatMap((r) => (r.metric === metric ? [r.node] : []));
  const [first, ...rest] = nodes;
  // A definition has a layer of each kind; a model may have no layer of the kind that reports, and then has no such loss.
  if (env.ctx.mode === "build" && metric !== null && first === undefined) return ERROR;
  if (metric === null || more.length > 0 || first === undefined) {
    const names = [...new Set(reported.map((r) => r.metric))];
    const near = metric === null ? null : suggest(metric, names);
    return report(
      env,
      "name/no-metric",
      metric === null
        ? `\`${name}\` over layers takes the name of a metric`
        : `none of these layers reports a metric \`${metric}\` before this`,
      arg?.span ?? expr.span,
      "no metric",
      near !== null
        ? `did you mean \`${near}\`?`
        : names.length === 0
          ? "write `metric share = ...` in their `forward`, and this after the `for` that applies them"
          : `they report ${names.join(", ")}`,
    );
  }
  const b = env.ctx.builder;
  let joined: Node = first;
  for (const node of rest) {
    const value = addNode(env, JOINS[name as keyof typeof JOINS], [joined, node], {}, expr.span);
    if (value.kind !== "tensor") return value;
    joined = value.node;
  }
  if (name !== "mean") return { kind: "tensor", node: joined };
  return addNode(env, "div", [joined, b.constant(nodes.length)], {}, expr.span);
}

/** Metrics that the layers of a stack have put beside the results, by the last word of their names. */
function reportedBy(env: Env, stack: StackMember): readonly { readonly metric: string; readonly node: Node }[] {
  const [template] = stack.layers;
  const prefix = template === undefined ? "" : stackOfTemplate(template.path);
  return (env.sink ?? []).flatMap(({ name, role, node }) =>
    role === "metric" && name.startsWith(prefix) ? [{ metric: name.slice(name.lastIndexOf(".") + 1), node }] : [],
  );
}
