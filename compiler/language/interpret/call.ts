/**
 * Calls. What stands before the parenthesis decides: a builtin, a function of the language (expanded in place), a layer
 * or router that is given parameters, or an instance that is applied to tensors.
 */
import type { Arg, BracketExpr, CallExpr, Expr, LayerDecl } from "../../../grammar/ast.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { Axis } from "../../graph/type.ts";
import { addNode } from "./add-node.ts";
import { resolveAxes } from "./axes.ts";
import { callBuiltin } from "./builtin.ts";
import { evaluateWithin } from "./within.ts";
import type { Env } from "./context.ts";
import { countOf, evaluate, report } from "./context.ts";
import { applyFunction, applyLayer } from "./forward.ts";
import type { AxisValue, ConstructorValue, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

export function evaluateCall(env: Env, expr: CallExpr): Value {
  const bracket: BracketExpr | null = expr.callee.kind === "bracket" ? expr.callee : null;
  const callee = evaluate(env, bracket === null ? expr.callee : bracket.object);
  switch (callee.kind) {
    case "error":
      return ERROR;
    case "builtin":
      if (callee.name === "within") return evaluateWithin(env, expr);
      return callBuiltin(env, callee.name, bracket?.items ?? [], expr);
    case "fn":
      return applyFunction(env, callee, bracket?.items ?? [], expr);
    case "constructor":
      return bracket === null ? bindParameters(env, callee, expr.args) : noBrackets(env, callee, bracket);
    case "layer":
      return bracket === null
        ? applyLayer(env, callee.instance, expr.args, expr.span)
        : noBrackets(env, callee, bracket);
    case "abstract":
      return applyAbstract(env, callee, expr);
    default:
      return report(
        env,
        "type/not-callable",
        `${describeValue(callee)} cannot be called`,
        expr.callee.span,
        `this is ${describeValue(callee)}`,
        callee.kind === "tensor" ? "multiply with `*`, or contract an axis with `dot[D](a, b)`" : null,
      );
  }
}

function noBrackets(env: Env, callee: Value, bracket: BracketExpr): Value {
  return report(
    env,
    "type/no-brackets",
    `${describeValue(callee)} takes no axes in brackets`,
    bracket.span,
    "remove the brackets",
  );
}

/** Gives parameters to a layer, router or model; it may stay partly applied (`TopK(K: 2)`). */
export function bindParameters(env: Env, callee: ConstructorValue, args: readonly Arg[]): Value {
  const { decl } = callee;
  const bound = new Map(callee.bound);
  const places = new Map(callee.places);
  let failed = false;
  let position = 0;
  const bind = (name: string, value: Value, at: Span): void => {
    const param = decl.params.find((p) => p.name.text === name);
    if (param === undefined) {
      const near = suggest(
        name,
        decl.params.map((p) => p.name.text),
      );
      report(
        env,
        "name/no-parameter",
        `\`${decl.name.text}\` has no parameter \`${name}\``,
        at,
        "not a parameter",
        near === null ? `it takes ${decl.params.map((p) => p.name.text).join(", ")}` : `did you mean \`${near}\`?`,
        [{ span: decl.name.span, text: "declared here" }],
      );
      failed = true;
    } else if (bound.has(name)) {
      const first = places.get(name);
      report(
        env,
        "name/bound-twice",
        `\`${name}\` is given twice`,
        at,
        "given again here",
        "remove one of them",
        first === undefined ? [] : [{ span: first, text: "first given here" }],
      );
      failed = true;
    } else if (value.kind === "error") failed = true;
    else {
      bound.set(name, value.kind === "axis" ? { ...value, origin: value.origin ?? at } : value);
      places.set(name, at);
    }
  };
  const nextFree = (): string | null => {
    while (position < decl.params.length && bound.has(decl.params[position]!.name.text)) position++;
    return decl.params[position++]?.name.text ?? null;
  };
  for (const arg of args) {
    if (arg.name !== null) {
      const { name } = arg;
      const param = decl.params.find((p) => p.name.text === name.text);
      if (param !== undefined) env.ctx.observer?.name(name, param.name);
      bind(arg.name.text, evaluate(env, arg.value), arg.span);
      continue;
    }
    const parts = arg.value.kind === "arrow" ? [arg.value.from, arg.value.to] : [arg.value];
    for (const part of parts) {
      const name = nextFree();
      if (name === null) {
        return report(
          env,
          "type/too-many-arguments",
          `\`${decl.name.text}\` takes ${countOf(decl.params.length, "parameter")}`,
          arg.span,
          "one too many",
          null,
          [{ span: decl.name.span, text: "declared here" }],
        );
      }
      bind(name, axesOrValue(env, part), part.span);
    }
  }
  return failed ? ERROR : { ...callee, bound, places };
}

/** `[G, R, C]` as an argument is a list of axes; anything else is evaluated. */
function axesOrValue(env: Env, expr: Expr): Value {
  if (expr.kind !== "list") return evaluate(env, expr);
  const axes = resolveAxes(env, expr);
  return axes === null
    ? ERROR
    : { kind: "list", items: axes.map((a): AxisValue => ({ ...a, origin: a.origin ?? expr.span })) };
}

/** Parameters that have neither an argument nor a default. */
export function missingParameters(decl: LayerDecl, bound: ReadonlyMap<string, Value>): readonly string[] {
  return decl.params.filter((p) => !bound.has(p.name.text) && p.default === null).map((p) => p.name.text);
}

/**
 * A `router`, `layer` or `model` parameter of a definition that is checked on its own: its types follow from its role. What a router has
 * as a member maps tokens to experts: whether it is there is known when a router is given. So is what a model gives.
 */
function applyAbstract(env: Env, callee: Extract<Value, { kind: "abstract" }>, expr: CallExpr): Value {
  const args = expr.args.map((a) => evaluate(env, a.value));
  if (env.sink === null) return { ...callee, args };
  const [x] = args;
  if (x?.kind !== "tensor")
    return x?.kind === "error"
      ? ERROR
      : report(env, "type/not-a-tensor", `a ${callee.role} is applied to a tensor`, expr.span, "no tensor here");
  if (callee.role === "layer") return x;
  if (callee.role === "model") return ERROR;
  const bank = callee.args[1];
  if (bank?.kind !== "axis")
    return report(
      env,
      "type/bad-route",
      "a router is made with the model width and the number of experts",
      expr.span,
      "made without them",
      "write `pick = R(D, N)`",
    );
  const over = { name: bank.label ?? "N", size: bank.size, origin: bank.origin };
  const choice = { name: "choice", size: Dim.of("choice"), origin: expr.span };
  const lead = x.node.type.axes.slice(0, 1);
  const input = (name: string, dtype: "u32" | "f32", last: Axis): Value =>
    addNode(env, "input", [], { name, type: { dtype, axes: [...lead, last] } }, expr.span);
  if (callee.role === "router's member") return input("route.logits", "f32", over);
  const [index, weight] = [input("route.index", "u32", choice), input("route.weight", "f32", choice)];
  return index.kind === "tensor" && weight.kind === "tensor"
    ? { kind: "route", bank: over, choice, index: index.node, weight: weight.node }
    : ERROR;
}
