/**
 * Applies bodies: functions are expanded in place, an instance's forward too, except that the layers of a stack become
 * calls of one shared graph function. Arguments are fitted to the declared types, results are checked against them.
 */
import type { Arg, Body, CallExpr, Expr, Name, Port, RouteType, Statement, TensorType, Type } from "../../grammar/ast.ts";
import type { Span } from "../../grammar/span.ts";
import type { Node } from "../graph/node.ts";
import { TIME, type Axis } from "../graph/type.ts";
import { toNode } from "./arithmetic.ts";
import { declaredAxes, matchPort, resolveAxes, resolveAxis, toSize } from "./axes.ts";
import type { Env } from "./context.ts";
import { countOf, evaluate, report, STACKED } from "./context.ts";
import { callStacked } from "./stack.ts";
import type { Instance, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

/** `softmax[N](z)`: axes in brackets bind the function's axis parameters, arguments its ports. */
export function applyFunction(env: Env, callee: Extract<Value, { kind: "fn" }>, brackets: readonly Expr[], expr: CallExpr): Value {
  const { decl, scope } = callee;
  const name = decl.name.text;
  if (env.calls.some((call) => call.name === name)) return report(env, "name/recursion", `\`${name}\` calls itself`, expr.span, "recursive call", "models have no recursion: write a `for` over layers");
  const inner: Env = { ...env, scope, locals: new Map(), instance: null, calls: [...env.calls, { name, span: expr.span }] };
  const items = brackets.flatMap((b) => (b.kind === "arrow" ? [b.from, b.to] : [b]));
  const axes = items.map((item) => resolveAxes(env, item));
  if (axes.includes(null)) return ERROR;
  const given = axes as (readonly import("./value.ts").AxisValue[])[];
  if (given.length !== decl.axes.length) {
    return report(env, "type/axis-count", `\`${name}\` names ${decl.axes.length === 1 ? "1 axis" : `${decl.axes.length} axes`} in brackets, not ${given.length}`, expr.callee.span,
      decl.axes.length === 0 ? "remove the brackets" : `write \`${name}[${decl.axes.map((a) => a.text).join(", ")}](...)\``, null, [{ span: decl.name.span, text: "declared here" }]);
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
  if (env.sink === null) return report(env, "type/not-callable", "layers are applied inside `forward`", span, "applied here");
  if (env.locals.has(STACKED + instance.path)) return callStacked(env, instance, args, span);
  if (instance.path.endsWith("[#]")) return report(env, "type/not-callable", `a \`for\` runs over these layers, so they are not applied at once`, span, "applied to all here", "apply the loop's variable: `for b in blocks { x = b(x) }`");
  return expandLayer(env, instance, args, span);
}

export function expandLayer(env: Env, instance: Instance, args: readonly Arg[], span: Span): Value {
  const { forward, name } = instance.decl;
  if (forward === null) return ERROR;
  if (env.calls.length > 200) return report(env, "name/recursion", "layers are nested too deeply", span, "applied here");
  const inner: Env = { ...env, scope: instance.scope, locals: new Map(instance.args), instance, calls: [...env.calls, { name: `layer ${name.text}`, span }] };
  const back = bindPorts(env, inner, forward.params, args, span, `\`${name.text}\``, instance.banks, instance.span);
  if (back === null) return ERROR;
  for (const [inside, outside] of instance.outer) if (!back.has(inside)) back.set(inside, outside);
  return finish(env, inner, runBody(inner, forward.body), forward.result, back, span, name.text);
}

/** Binds arguments to ports; returns the renamings to undo on results, or null after reporting. */
function bindPorts(env: Env, inner: Env, ports: readonly Port[], args: readonly Arg[], span: Span, what: string, banks: readonly Axis[], made: Span | null): Map<string, string> | null {
  const back = new Map<string, string>();
  const bound = new Set<string>();
  let position = 0;
  let failed = false;
  for (const arg of args) {
    const port = arg.name === null ? ports[position++] : ports.find((p) => p.name.text === arg.name!.text);
    if (port === undefined) {
      if (arg.name === null) report(env, "type/too-many-arguments", `${what} takes ${countOf(ports.length, "argument")}`, arg.span, "one too many", ports.length === 0 ? null : `it takes ${ports.map((p) => p.name.text).join(", ")}`, made === null ? [] : [{ span: made, text: "made here" }]);
      else report(env, "name/no-parameter", `${what} has no argument \`${arg.name.text}\``, arg.span, "not an argument", `it takes ${ports.map((p) => p.name.text).join(", ")}`);
      return null;
    }
    bound.add(port.name.text);
    const value = evaluate(env, arg.value);
    if (value.kind === "error") failed = true;
    else if (!bindPort(env, inner, port, value, arg.span, what, banks, back, made)) failed = true;
  }
  if (failed) return null;
  for (const port of ports) {
    if (bound.has(port.name.text)) continue;
    if (port.default === null) {
      report(env, "type/missing-argument", `${what} needs an argument \`${port.name.text}\``, span, "missing here", null, [{ span: port.span, text: "declared here" }]);
      return null;
    }
    inner.locals.set(port.name.text, evaluate(inner, port.default));
  }
  return back;
}

function bindPort(env: Env, inner: Env, port: Port, value: Value, span: Span, what: string, banks: readonly Axis[], back: Map<string, string>, made: Span | null): boolean {
  if (port.type === null || port.type.kind === "named-type") {
    inner.locals.set(port.name.text, value);
    return true;
  }
  if (port.type.kind === "route-type" && port.type.form === "sparse") {
    if (value.kind !== "route") {
      report(env, "type/bad-route", `${what}'s \`${port.name.text}\` is a sparse route, not ${describeValue(value)}`, span, `this is ${describeValue(value)}`, "give it what a router returns", [{ span: port.type.span, text: "declared here" }]);
      return false;
    }
    inner.locals.set(port.name.text, value);
    return true;
  }
  const node = toNode(env, value, null, span);
  if (node === null) return false;
  if (port.type.kind === "route-type") return bindPort(env, inner, { ...port, type: denseType(port.type) }, value, span, what, banks, back, made);
  const match = matchPort(inner, port.type, node, span, `${what}'s \`${port.name.text}\``, banks, made);
  if (match === null) return false;
  const dtype = port.type.dtype?.text;
  if (dtype !== undefined && dtype !== match.node.type.dtype) {
    report(env, "type/dtype-mismatch", `${what}'s \`${port.name.text}\` is ${dtype}, but this is ${match.node.type.dtype}`, span, `this is ${match.node.type.dtype}`, `cast it with \`${dtype}(...)\``);
    return false;
  }
  for (const [inside, outside] of match.back) back.set(inside, outside);
  inner.locals.set(port.name.text, { kind: "tensor", node: match.node });
  return true;
}

/** Runs statements; the value of the first `return`, or null when there is none. */
export function runBody(env: Env, body: Body): readonly Value[] | null {
  return runStatements(env, body.statements);
}

function runStatements(env: Env, statements: readonly Statement[]): readonly Value[] | null {
  for (const statement of statements) {
    const returned = runStatement(env, statement);
    if (returned !== null) return returned;
  }
  return null;
}

function runStatement(env: Env, statement: Statement): readonly Value[] | null {
  switch (statement.kind) {
    case "return": return statement.values.map((v) => evaluate(env, v));
    case "let": {
      const value = evaluate(env, statement.value);
      const items = statement.names.length === 1 ? [value] : value.kind === "tuple" ? value.items : null;
      if (items === null || items.length !== statement.names.length) {
        if (value.kind !== "error") report(env, "type/result-count", `${statement.names.length} names for ${describeValue(value)}`, statement.span, "names and results differ in number", value.kind === "tuple" ? `write ${countOf(value.items.length, "name")} before \`=\`` : "write one name before `=`");
        for (const name of statement.names) env.locals.set(name.text, ERROR);
        return null;
      }
      return statement.names.every((name, i) => setLocal(env, name, items[i]!)) ? null : [ERROR];
    }
    case "loss":
    case "metric": {
      const value = evaluate(env, statement.value);
      const node = value.kind === "error" ? null : toNode(env, value, null, statement.span);
      if (node === null || env.sink === null) return null;
      if (statement.kind === "loss" && node.type.axes.length > 0) {
        report(env, "type/loss-not-scalar", "a loss is one number", statement.span, `this still has axes [${node.type.axes.map((a) => a.name).join(", ")}]`, "reduce it with `mean[...]` or `sum[...]`");
        return null;
      }
      env.sink.push({ name: statement.kind === "loss" ? `loss${env.sink.length}` : statement.name.text, role: statement.kind, node });
      return null;
    }
    case "if": {
      const condition = evaluate(env, statement.condition);
      if (condition.kind === "error") return null;
      if (condition.kind !== "bool") {
        report(env, "type/not-a-condition", "a condition must be known when the model is compiled", statement.condition.span, `this is ${describeValue(condition)}`, "use `select(condition, a, b)` to choose element by element");
        return null;
      }
      return runStatements(env, condition.value ? statement.then : statement.else);
    }
    case "for": return runFor(env, statement);
  }
}

/** A name that stands for an axis goes on doing so in the whole body: types and brackets read it. */
function setLocal(env: Env, name: Name, value: Value): boolean {
  const known = env.locals.get(name.text);
  if (name.text === TIME || (known?.kind === "axis" && known.label !== null)) {
    report(env, "name/taken", `\`${name.text}\` is an axis here and cannot name a value`, name.span, "named again here", "choose another name",
      known?.kind === "axis" && known.origin !== null ? [{ span: known.origin, text: "the axis comes from here" }] : []);
    return false;
  }
  env.locals.set(name.text, value);
  return true;
}

function runFor(env: Env, statement: Extract<Statement, { kind: "for" }>): readonly Value[] | null {
  const member = statement.over.kind === "name" ? env.instance?.members.get(statement.over.name.text) : undefined;
  if (member?.kind !== "stack") {
    report(env, "type/not-iterable", "`for` runs over a member `L of Layer`", statement.over.span, "not layers", "declare `blocks = L of Block(...)`");
    return null;
  }
  // A definition on its own may have a symbolic number of layers: one pass checks the body.
  const count = member.count.size.value ?? 1;
  const { template } = member;
  for (let i = 0; i < count; i++) {
    env.locals.set(STACKED + template.path, { kind: "number", value: i, float: false });
    env.locals.set(statement.variable.text, { kind: "layer", instance: template });
    const returned = runStatements(env, statement.body);
    if (returned !== null) return returned;
  }
  env.locals.delete(STACKED + template.path);
  return null;
}

/** Checks results against the declared types and renames their axes back to the caller's. */
export function finish(env: Env, inner: Env, values: readonly Value[] | null, types: readonly Type[], back: ReadonlyMap<string, string>, span: Span, name: string): Value {
  if (values === null) return env.ctx.bag.hasErrors ? ERROR : report(env, "type/no-result", `\`${name}\` returns nothing`, span, "a value is needed", "end its body with `return`");
  const [only] = values;
  const flat = values.length === 1 && only!.kind === "tuple" ? only!.items : values;
  if (flat.some((v) => v.kind === "error")) return ERROR;
  if (types.length > 0 && flat.length !== types.length) return report(env, "type/result-count", `\`${name}\` declares ${countOf(types.length, "result")} and returns ${flat.length}`, span, "called here");
  const results = flat.map((value, i) => (types[i] === undefined ? value : checkResult(inner, value, types[i]!, back, name)));
  if (results.some((v) => v.kind === "error")) return ERROR;
  return results.length === 1 ? results[0]! : { kind: "tuple", items: results };
}

function checkResult(inner: Env, value: Value, type: Type, back: ReadonlyMap<string, string>, name: string): Value {
  if (type.kind === "named-type") return value;
  if (type.kind === "route-type") return checkRoute(inner, value, type, back, name);
  const node = toNode(inner, value, null, type.span);
  if (node === null) return ERROR;
  const declared = declaredAxes(inner, type);
  const wanted = new Set(declared.axes.map((a) => a.name));
  for (const axis of declared.axes) {
    // A size without a label, such as `4 * D`, takes the next axis of that size.
    const unnamed = declared.unnamed.has(axis.name) ? node.type.axes.find((a) => !wanted.has(a.name) && a.size.equals(axis.size)) : undefined;
    if (unnamed !== undefined) wanted.add(unnamed.name);
    const actual = unnamed ?? node.type.axes.find((a) => a.name === axis.name);
    if (actual === undefined) {
      return report(inner, "shape/missing-axis", `\`${name}\` declares ${declared.unnamed.has(axis.name) ? `an axis of ${axis.size.key}` : `axis \`${axis.name}\``}, which its result does not have`, type.span,
        `declared here; the result has [${node.type.axes.map((a) => a.name).join(", ")}]`, null, node.origin === null ? [] : [{ span: node.origin, text: "the result" }]);
    }
    if (!actual.size.equals(axis.size)) {
      return report(inner, "shape/axis-mismatch", `\`${name}\` declares axis \`${axis.name}\` of ${axis.size.key}, and its result has ${actual.size.key}`, type.span, `${axis.size.key} declared here`, null,
        actual.origin === null ? [] : [{ span: actual.origin, text: `${actual.size.key} comes from here` }]);
    }
  }
  const extra = node.type.axes.find((a) => !wanted.has(a.name) && !declared.rest && !(inner.instance?.banks ?? []).some((b) => b.name === a.name));
  if (extra !== undefined) {
    return report(inner, "shape/extra-axis", `the result of \`${name}\` has an axis \`${extra.name}\` that is not declared`, type.span, "declared here", `reduce it, or add \`${extra.name}\` to the type`,
      node.origin === null ? [] : [{ span: node.origin, text: `the result has [${node.type.axes.map((a) => a.name).join(", ")}]` }]);
  }
  if (type.dtype !== null && type.dtype.text !== node.type.dtype) {
    return report(inner, "type/dtype-mismatch", `\`${name}\` declares ${type.dtype.text} and returns ${node.type.dtype}`, type.span, "declared here", `cast the result with \`${type.dtype.text}(...)\``);
  }
  return { kind: "tensor", node: renameBack(inner, node, back) };
}

function renameBack(env: Env, node: Node, back: ReadonlyMap<string, string>): Node {
  let current = node;
  for (const axis of node.type.axes) {
    const outside = back.get(axis.name);
    if (outside !== undefined && outside !== axis.name && !current.type.axes.some((a) => a.name === outside)) {
      current = env.ctx.builder.must("rename", [current], { from: axis.name, to: outside }, node.origin);
    }
  }
  return current;
}

/** `dense[T, N]` is a tensor over both. */
function denseType(type: RouteType): TensorType {
  return { kind: "tensor-type", dtype: null, axes: type.axes.map(({ axis }) => ({ kind: "axis", label: null, size: axis, span: axis.span })), span: type.span };
}

/** `sparse[T, K of N]` wants a route whose slots are K and banks N; `dense[T, N]` a tensor over both. */
function checkRoute(inner: Env, value: Value, type: RouteType, back: ReadonlyMap<string, string>, name: string): Value {
  if (value.kind === "error") return value;
  if (type.form === "dense") return value.kind === "route" ? report(inner, "type/bad-route", `\`${name}\` declares a dense route and returns a sparse one`, type.span, "declared here", "declare `sparse[T, K of N]`") : checkResult(inner, value, denseType(type), back, name);
  if (value.kind !== "route") {
    const origin = value.kind === "tensor" ? value.node.origin : null;
    return report(inner, "type/bad-route", `\`${name}\` declares a sparse route and returns ${describeValue(value)}`, type.span, "declared here", "end with `return route[N](index, weight)`", origin === null ? [] : [{ span: origin, text: "this is returned" }]);
  }
  const choice = type.axes.find((a) => a.of !== null);
  const bank = choice === undefined ? null : resolveAxis(inner, choice.of!);
  const slots = choice === undefined ? null : toSize(evaluate(inner, choice.axis));
  if (bank?.name === TIME) return report(inner, "type/bad-route", "a sparse route chooses experts for each token, not tokens for each expert", choice?.of?.span ?? type.span, "chosen from here", "write `sparse[T, K of N]`; or weight every token and return `dense[T, N]`");
  if (bank !== null && bank.name !== value.bank.name) return report(inner, "type/bad-route", `\`${name}\` declares a choice among \`${bank.name}\` and returns one among \`${value.bank.name}\``, type.span, "declared here");
  if (slots !== null && !slots.size.equals(value.slot.size)) {
    return report(inner, "shape/axis-mismatch", `\`${name}\` declares ${slots.size.key} choices per token and returns ${value.slot.size.key}`, type.span, "declared here");
  }
  if (!value.index.type.axes.some((a) => a.name === TIME)) return report(inner, "type/bad-route", `the route of \`${name}\` is the same for every token`, type.span, "declared per token here");
  return value;
}
