/**
 * Applies bodies: functions are expanded in place, an instance's forward too, except that the layers of a stack become
 * calls of one shared graph function. Arguments are fitted to the declared types, results are checked against them.
 */
import type { Arg, CallExpr, Expr } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import { isTemplate } from "../../graph/path.ts";
import { resolveAxes } from "./axes.ts";
import type { Env } from "./context.ts";
import { report, STACKED } from "./context.ts";
import { callStacked } from "./stack.ts";
import type { Instance, Value } from "./value.ts";
import { ERROR } from "./value.ts";
import { bindPorts } from "./ports.ts";
import { tellGiven } from "./probe.ts";
import { finish } from "./results.ts";
import { runBody } from "./statements.ts";

/** `softmax[N](z)`: axes in brackets bind the function's axis parameters, arguments its ports. */
export function applyFunction(
  env: Env,
  callee: Extract<Value, { kind: "fn" }>,
  brackets: readonly Expr[],
  expr: CallExpr,
): Value {
  const { decl, scope } = callee;
  const name = decl.name.text;
  if (env.calls.some((call) => call.name === name))
    return report(
      env,
      "name/recursion",
      `\`${name}\` calls itself`,
      expr.span,
      "recursive call",
      "models have no recursion: write a `for` over layers",
    );
  const inner: Env = {
    ...env,
    scope,
    locals: new Map(),
    instance: null,
    calls: [...env.calls, { name, span: expr.span }],
  };
  const items = brackets.flatMap((b) => (b.kind === "arrow" ? [b.from, b.to] : [b]));
  const axes = items.map((item) => resolveAxes(env, item));
  if (axes.includes(null)) return ERROR;
  const given = axes as (readonly import("./value.ts").AxisValue[])[];
  if (given.length !== decl.axes.length) {
    return report(
      env,
      "type/axis-count",
      `\`${name}\` names ${decl.axes.length === 1 ? "1 axis" : `${decl.axes.length} axes`} in brackets, not ${given.length}`,
      expr.callee.span,
      decl.axes.length === 0
        ? "remove the brackets"
        : `write \`${name}[${decl.axes.map((a) => a.text).join(", ")}](...)\``,
      null,
      [{ span: decl.name.span, text: "declared here" }],
    );
  }
  decl.axes.forEach((axis, i) => {
    const list = given[i]!;
    inner.locals.set(axis.text, list.length === 1 ? list[0]! : { kind: "list", items: list });
  });
  const back = bindPorts(env, inner, decl.params, expr.args, expr.span, `\`${name}\``, env.instance?.banks ?? [], null);
  if (back === null) return ERROR;
  return finish(env, inner, runBody(inner, decl.body), decl.result, back, expr.span, name);
}

/** An instance applied to arguments: through a shared function for a layer of a stack, expanded in place otherwise. */
export function applyLayer(env: Env, instance: Instance, args: readonly Arg[], span: Span): Value {
  if (env.sink === null)
    return report(env, "type/not-callable", "layers are applied inside `forward`", span, "applied here");
  if (env.locals.has(STACKED + instance.path)) return callStacked(env, instance, args, span);
  if (isTemplate(instance.path))
    return report(
      env,
      "type/not-callable",
      `a \`for\` runs over these layers, so they are not applied at once`,
      span,
      "applied to all here",
      "apply the loop's variable: `for b in blocks { x = b(x) }`",
    );
  return expandLayer(env, instance, args, span);
}

export function expandLayer(env: Env, instance: Instance, args: readonly Arg[], span: Span): Value {
  const { forward, name } = instance.decl;
  if (forward === null) return ERROR;
  if (env.calls.length > 200)
    return report(env, "name/recursion", "layers are nested too deeply", span, "applied here");
  const inner: Env = {
    ...env,
    scope: instance.scope,
    locals: new Map(instance.args),
    instance,
    calls: [...env.calls, { name: `layer ${name.text}`, span, layer: instance.decl }],
  };
  const back = bindPorts(env, inner, forward.params, args, span, `\`${name.text}\``, instance.banks, instance.span);
  if (back === null) return ERROR;
  tellGiven(inner, instance);
  for (const [inside, outside] of instance.outer) if (!back.has(inside)) back.set(inside, outside);
  return finish(env, inner, runBody(inner, forward.body), forward.result, back, span, name.text);
}
