/**
 * Evaluates one expression of the language to a `Value`. One case per kind of expression; arithmetic, calls and
 * builtins live in the files beside this one.
 */
import type { BracketExpr, Expr, Member, MemberExpr, Name } from "../../../grammar/ast.ts";
import { evaluateBinary, evaluateUnary } from "./arithmetic.ts";
import { isTemplate } from "../../graph/path.ts";
import { resolveAxes, restHere, toSize } from "./axes.ts";
import { enter, finite } from "./bounds.ts";
import { evaluateCall } from "./call.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { lookupName, parameterNode, report, unknownName } from "./context.ts";
import type { ListValue, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";
import { suggest } from "../../../grammar/index.ts";
import { textOf, type Span } from "../../../grammar/span.ts";

export function evaluate(env: Env, expr: Expr): Value {
  enter(env.ctx, expr.span);
  const value = evaluateInside(env, expr);
  env.ctx.meter.depth--;
  env.ctx.observer?.value(env, expr, value);
  return value;
}

function evaluateInside(env: Env, expr: Expr): Value {
  switch (expr.kind) {
    case "number":
      return finite(env, { kind: "number", value: expr.value, float: expr.float }, expr.span);
    case "string":
      return { kind: "string", value: expr.value };
    case "bool":
      return { kind: "bool", value: expr.value };
    case "name":
      return evaluateName(env, expr.name.text, expr);
    case "list":
      return { kind: "list", items: expr.items.map((item) => evaluate(env, item)) };
    case "unary":
      return evaluateUnary(env, expr);
    case "binary":
      return evaluateBinary(env, expr);
    case "if": {
      const condition = evaluate(env, expr.condition);
      if (condition.kind === "error") return ERROR;
      if (condition.kind !== "bool")
        return report(
          env,
          "type/not-a-condition",
          "a condition must be known when the model is compiled",
          expr.condition.span,
          `this is ${describeValue(condition)}`,
          "use `select(condition, a, b)` to choose between tensors element by element",
        );
      return evaluate(env, condition.value ? expr.then : expr.else);
    }
    case "member":
      return evaluateMember(env, expr);
    case "bracket":
      return evaluateBracket(env, expr);
    case "call":
      return evaluateCall(env, expr);
    case "arrow":
      return report(
        env,
        "type/stray-arrow",
        "`->` stands only between axes in brackets or in a layer's parameters",
        expr.span,
        "not allowed here",
        "write axes in brackets, such as `x[D -> D']`",
      );
    case "of":
      return report(
        env,
        "type/stray-of",
        "`N of Layer` stands only as a member of a layer",
        expr.span,
        "not allowed here",
        "write `experts = N of SwiGLU(D, F)`",
      );
    case "rest":
      return restHere(env, expr.span);
  }
}

function evaluateName(env: Env, text: string, expr: Extract<Expr, { kind: "name" }>): Value {
  const value = lookupName(env, text);
  if (value !== null) {
    const member = env.locals.has(text) ? undefined : env.instance?.members.get(text);
    if (member?.kind === "absent") return absentMember(env, text, expr.span, member.condition);
    return value.kind === "axis" && value.origin === null ? { ...value, origin: expr.span } : value;
  }
  if (text.endsWith("'")) {
    const [axis, ...more] = resolveAxes(env, expr) ?? [];
    return axis !== undefined && more.length === 0 ? axis : ERROR;
  }
  return unknownName(env, text, expr.span);
}

function absentMember(env: Env, name: string, span: Span, condition: Span): Value {
  return report(
    env,
    "name/absent-member",
    `\`${name}\` does not exist in every configuration`,
    span,
    "used here",
    `guard the use with the member's condition: \`if ${textOf(condition)} { ... }\``,
    [{ span: condition, text: "it exists only if this holds" }],
  );
}

function evaluateMember(env: Env, expr: MemberExpr): Value {
  const object = evaluate(env, expr.object);
  const name = expr.name.text;
  if (object.kind === "error") return ERROR;
  if (object.kind === "layer") {
    if (isTemplate(object.instance.path))
      return report(
        env,
        "type/not-callable",
        "the layers of a stack are applied whole",
        expr.name.span,
        `a part of \`${object.instance.decl.name.text}\``,
        "write what one layer does in its own `forward`, and `for b in blocks { x = b(x) }` around it",
      );
    const member = object.instance.members.get(name);
    tellMember(env, expr.name, object.instance.decl.members);
    if (member?.kind === "parameter")
      return env.sink === null ? ERROR : { kind: "tensor", node: parameterNode(env, member.parameter) };
    if (member?.kind === "layer") return { kind: "layer", instance: member.instance };
    if (member?.kind === "value") return member.value;
    if (member?.kind === "absent") return absentMember(env, name, expr.name.span, member.condition);
    const members = [...object.instance.members.keys()];
    const near = suggest(name, members);
    return report(
      env,
      "name/no-member",
      `\`${object.instance.decl.name.text}\` has no member \`${name}\``,
      expr.name.span,
      "not a member",
      near === null ? `it has ${members.join(", ")}` : `did you mean \`${near}\`?`,
    );
  }
  if (object.kind === "route") {
    if (name === "index") return { kind: "tensor", node: object.index };
    if (name === "weight") return { kind: "tensor", node: object.weight };
    return report(
      env,
      "name/no-member",
      `a sparse route has no \`${name}\``,
      expr.name.span,
      "not a member",
      "it has `index` and `weight`",
    );
  }
  if (object.kind === "abstract" && object.role === "router") return { ...object, role: "router's member" };
  return report(env, "name/no-member", `${describeValue(object)} has no members`, expr.name.span, "taken of this");
}

function tellMember(env: Env, use: Name, members: readonly Member[]): void {
  const declared = members.find((m) => m.name.text === use.text);
  if (declared !== undefined) env.ctx.observer?.name(use, declared.name);
}

/** `types[l]`: an entry of a list of a configuration. */
function evaluateEntry(env: Env, list: ListValue, expr: BracketExpr): Value {
  const [item, ...more] = expr.items;
  const index = item === undefined || more.length > 0 || item.kind === "arrow" ? null : toSize(evaluate(env, item));
  // A size that is not known yet stands for any entry.
  const entry = index === null ? undefined : list.items[index.size.value ?? 0];
  if (entry !== undefined) return entry;
  return report(
    env,
    "type/bad-index",
    index === null ? "an entry of a list is named by its number" : `the list has ${list.items.length} entries`,
    expr.span,
    index === null ? "not a number" : `there is no entry ${index.size.key}`,
    "entries are numbered from 0",
  );
}

/** `x[D -> D']` renames axes of a tensor; brackets on functions are read by the call around them. */
function evaluateBracket(env: Env, expr: BracketExpr): Value {
  const object = evaluate(env, expr.object);
  if (object.kind === "error") return ERROR;
  if (object.kind === "list") return evaluateEntry(env, object, expr);
  if (object.kind !== "tensor") {
    return report(
      env,
      "type/no-brackets",
      `${describeValue(object)} takes no brackets here`,
      expr.span,
      "brackets follow a tensor (to rename axes) or a function that is called",
    );
  }
  let value: Value = object;
  for (const item of expr.items) {
    if (item.kind !== "arrow")
      return report(
        env,
        "type/no-brackets",
        "brackets after a tensor rename axes",
        item.span,
        "not a renaming",
        "write `x[D -> D']`",
      );
    const from = resolveAxes(env, item.from);
    const to = resolveAxes(env, item.to);
    if (from === null || to === null) return ERROR;
    if (from.length !== to.length)
      return report(
        env,
        "shape/rename-count",
        `${from.length} axes cannot be renamed to ${to.length}`,
        item.span,
        "both sides need as many axes",
        "use `split[...]` or `merge[...]` to change the number of axes",
      );
    for (const [i, axis] of from.entries()) {
      const target = to[i]!;
      if (!axis.size.equals(target.size))
        return report(
          env,
          "shape/axis-mismatch",
          `\`${axis.label}\` is ${axis.size.key} and \`${target.label}\` is ${target.size.key}`,
          item.span,
          "renaming keeps the size",
        );
      if (axis.label === target.label || value.kind !== "tensor") continue;
      value = addNode(env, "rename", [value.node], { from: axis.label ?? "", to: target.label ?? "" }, item.span);
    }
  }
  return value;
}
