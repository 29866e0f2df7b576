/**
 * Instances: a layer with all its parameters, its members made, its paths known. `N of Layer` becomes a bank (an axis in
 * front of every parameter) or, where the enclosing forward runs a `for` over it, a stack of layers.
 */
import type { Expr, LayerDecl, Member, Param, Statement } from "../../../grammar/ast.ts";
import type { Label } from "../../../grammar/diagnostic.ts";
import { walk } from "../../../grammar/index.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import type { Axis } from "../../graph/type.ts";
import { toAxis, toSize } from "./axes.ts";
import { areStorable } from "./bounds.ts";
import { bindParameters, missingParameters } from "./call.ts";
import type { Context, Env } from "./context.ts";
import { evaluate, report, staticEnv } from "./context.ts";
import { isLayer, makeStack } from "./layers.ts";
import { parameterOf } from "./parameter.ts";
import { takeShape } from "./shape.ts";
import { areStepInputs } from "./step.ts";
import type { AxisValue, ConstructorValue, Instance, InstanceMember, Value } from "./value.ts";
import { describeValue } from "./value.ts";

/** Makes an instance; null after reporting what is wrong with its parameters. */
export function instantiate(
  ctx: Context,
  callee: ConstructorValue,
  path: string,
  banks: readonly Axis[],
  span: Span,
): Instance | null {
  const { decl, scope } = callee;
  const args = new Map<string, Value>();
  const members = new Map<string, InstanceMember>();
  const outer = new Map<string, string>();
  let instance: Instance = { decl, scope, path, args, members, banks, outer, rest: null, span };
  let env: Env = { ctx, scope, locals: args, instance, sink: null, pools: false, calls: [] };
  if (ctx.nesting.filter((d) => d === decl).length > DEEPEST) {
    report(
      env,
      "name/recursion",
      `\`${decl.name.text}\` contains itself without end`,
      span,
      "made again here",
      "layers have no recursion: write `L of Layer(...)` and a `for`",
      [{ span: decl.name.span, text: "declared here" }],
    );
    return null;
  }
  const missing = missingParameters(decl, callee.bound);
  if (missing.length > 0) {
    report(
      env,
      "type/missing-argument",
      `\`${decl.name.text}\` needs ${missing.map((m) => `\`${m}\``).join(", ")}`,
      span,
      "missing here",
      null,
      [{ span: decl.name.span, text: "declared here" }],
    );
    return null;
  }
  const labels = new Set<string>();
  for (const param of decl.params) {
    const name = param.name.text;
    const value = callee.bound.get(name) ?? evaluate(env, param.default!);
    if (value.kind === "error") return null;
    const own = ownLabel(value, name, labels, callee.places?.get(name) ?? param.span);
    args.set(name, own);
    if (
      own.kind === "axis" &&
      value.kind === "axis" &&
      own.label !== null &&
      value.label !== null &&
      own.label !== value.label
    )
      outer.set(own.label, value.label);
    const wrong = checkParameter(param, value);
    if (wrong !== null) {
      report(
        env,
        "type/parameter-kind",
        `\`${name}\` of \`${decl.name.text}\` is ${wrong}, not ${describeValue(value)}`,
        callee.places?.get(name) ?? span,
        `given here`,
        null,
        [{ span: param.span, text: "declared here" }],
      );
      return null;
    }
  }
  if (decl.keyword === "optimizer") {
    const taken = takeShape(env, callee, span);
    if (taken === null) return null;
    if ("decl" in taken) return instantiate(ctx, taken, path, banks, span);
    for (const [name, axis] of taken.named) args.set(name, axis);
    instance = { ...instance, rest: taken.rest };
    env = { ...env, instance };
    if (!areStepInputs(env, decl)) return null;
  }
  for (const condition of decl.where) {
    const holds = evaluate(env, condition);
    if (holds.kind === "bool" && !holds.value) {
      reportWhere(env, callee, condition, args, span);
      return null;
    }
  }
  if (repeatsMember(env, decl)) return null;
  ctx.nesting.push(decl);
  const complete = makeMembers(env, instance, members);
  ctx.nesting.pop();
  return complete ? instance : null;
}

function makeMembers(env: Env, instance: Instance, into: Map<string, InstanceMember>): boolean {
  const { decl } = instance;
  const looped = loopedMembers(decl.forward?.body.statements ?? []);
  for (const member of decl.members) {
    const made = makeMember(env, instance, member, looped);
    if (made === null) return false;
    into.set(member.name.text, made);
  }
  return true;
}

/** How often a layer may stand inside itself, as wrappers do; more is taken for endless. */
const DEEPEST = 16;

/** A condition that does not hold, at the arguments that its sizes came from. */
function reportWhere(
  env: Env,
  callee: ConstructorValue,
  condition: Expr,
  args: ReadonlyMap<string, Value>,
  span: Span,
): void {
  const labels: Label[] = [];
  walk(condition, (node) => {
    const value = node.kind === "name" && "name" in node ? args.get(node.name.text) : undefined;
    if (node.kind !== "name" || !("name" in node) || (value?.kind !== "axis" && value?.kind !== "string")) return;
    const place = (value.kind === "axis" ? value.origin : null) ?? callee.places?.get(node.name.text) ?? null;
    const text = value.kind === "axis" ? value.size.key : `"${value.value}"`;
    if (place !== null && !labels.some((l) => l.span === place))
      labels.push({ span: place, text: `\`${node.name.text}\` is ${text} here` });
  });
  // Last given, first suspected: parameters of a router are often given before its width and number of experts.
  const [first, ...rest] = labels.toSorted((a, b) => Number(isStandard(a.span)) - Number(isStandard(b.span)));
  const { name } = callee.decl;
  report(
    env,
    "type/where",
    `\`${name.text}\` requires \`${textOf(condition.span)}\``,
    first?.span ?? span,
    first?.text ?? "made here",
    "change the parameters",
    [...rest, { span: condition.span, text: "required here" }],
  );
}

const isStandard = (span: Span): boolean => span.file.isLibrary === true;

function repeatsMember(env: Env, decl: LayerDecl): boolean {
  const seen = new Map<string, Span>();
  const names = [...decl.params, ...decl.members].map((d) => d.name);
  for (const name of [...names, ...decl.members.flatMap((m) => m.index ?? [])]) {
    const first = seen.get(name.text);
    if (first !== undefined) {
      report(
        env,
        "name/duplicate",
        `\`${name.text}\` is declared twice in \`${decl.name.text}\``,
        name.span,
        "declared again here",
        "rename one of them",
        [{ span: first, text: "first declared here" }],
      );
      return true;
    }
    seen.set(name.text, name.span);
  }
  return false;
}

/** Sizes keep the label of the axis they were given; a label used twice by one layer, or none, gives way to the parameter's own name. */
function ownLabel(value: Value, name: string, labels: Set<string>, span: Span): Value {
  if (value.kind === "list") {
    // Sizes of a list that are no axes of the caller are told apart by number: `O1`, `O2`.
    const items = value.items.map((item, i) =>
      item.kind === "axis" && item.label === null ? ownLabel(item, `${name}${i + 1}`, labels, span) : item,
    );
    return { ...value, items };
  }
  const size = toSize(value);
  if (size === null) return value;
  let label = size.label ?? name;
  if (labels.has(label)) label = name;
  while (labels.has(label)) label += "_";
  labels.add(label);
  return { ...size, label, origin: size.origin ?? span } satisfies AxisValue;
}

/** What a parameter has to be that the value is not; null where it fits. A default says what takes its place. */
function checkParameter({ type, default: initial }: Param, value: Value): string | null {
  const role = value.kind === "constructor" ? value.decl.keyword : value.kind === "abstract" ? value.role : null;
  switch (type?.text) {
    case "router":
      return role === "router" ? null : "a router";
    case "layer":
      return role === "layer" ? null : "a layer";
    case "model":
      return role === "model" ? null : "a model";
    case "optimizer":
      return role === "optimizer" ? null : "an optimizer";
    case undefined: {
      const isNumber = toSize(value) !== null || value.kind === "number";
      if (initial === null) return value.kind === "list" || toSize(value) !== null ? null : "a size";
      if (value.kind === "none") return null;
      if (initial.kind === "bool") return value.kind === "bool" ? null : "true or false";
      return initial.kind === "number" && !isNumber && value.kind !== "list" ? "a number" : null;
    }
    default:
      return null;
  }
}

function loopedMembers(statements: readonly Statement[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const s of statements) {
    if (s.kind === "for") {
      if (s.over.kind === "name") names.add(s.over.name.text);
      for (const inner of loopedMembers(s.body)) names.add(inner);
    } else if (s.kind === "if") for (const inner of loopedMembers([...s.then, ...s.else])) names.add(inner);
  }
  return names;
}

function makeMember(env: Env, owner: Instance, member: Member, looped: ReadonlySet<string>): InstanceMember | null {
  if (member.condition !== null) {
    const condition = evaluate(env, member.condition);
    if (condition.kind !== "bool") {
      if (condition.kind !== "error")
        report(
          env,
          "type/not-a-condition",
          "a member's condition must be true or false",
          member.condition.span,
          `this is ${describeValue(condition)}`,
        );
      return null;
    }
    if (!condition.value) return { kind: "absent", condition: member.condition.span };
  }
  const path = owner.path === "" ? member.name.text : `${owner.path}.${member.name.text}`;
  const { value } = member;
  if (value.kind === "of") {
    const count = countAxis(env, value.count);
    if (count === null) return null;
    if (looped.has(member.name.text))
      return makeStack(env, member, value, count, path, (layer, template) =>
        instantiate(env.ctx, layer, template, owner.banks, value.span),
      );
    if (member.index !== null) {
      report(
        env,
        "type/not-a-stack",
        "only layers that a `for` runs over have a number",
        member.index.span,
        "numbered here",
        `write \`${member.name.text} = N of ...\`, or run over them: \`for b in ${member.name.text} { x = b(x) }\``,
      );
      return null;
    }
    const layer = evaluate(env, value.value);
    if (layer.kind === "error") return null;
    if (layer.kind === "abstract" && layer.role !== "router") return { kind: "value", value: layer };
    if (!isLayer(env, layer, value.value)) return null;
    const bank = toAxis(count, member.name.text);
    if (!areStorable(env, [bank], `\`${path}\``, value.count.span)) return null;
    const instance = instantiate(env.ctx, layer, path, [...owner.banks, bank], value.span);
    return instance === null ? null : { kind: "layer", instance };
  }
  if (member.index !== null) {
    report(
      env,
      "type/not-a-stack",
      "only a stack of layers is numbered",
      member.index.span,
      "numbered here",
      `write \`${member.name.text}[${member.index.text}] = L of Layer(...)\``,
    );
    return null;
  }
  const parameter = parameterOf(env, owner, member, path);
  if (parameter !== undefined) return parameter;
  const made = evaluate(env, value);
  if (made.kind === "error") return null;
  if (made.kind !== "constructor") return { kind: "value", value: made };
  const missing = missingParameters(made.decl, made.bound);
  if (missing.length > 0 && value.kind !== "call") return { kind: "value", value: made };
  const instance = instantiate(env.ctx, made, path, owner.banks, value.span);
  return instance === null ? null : { kind: "layer", instance };
}

function countAxis(env: Env, expr: Expr): AxisValue | null {
  const size = toSize(evaluate(env, expr));
  if (size !== null && (size.size.value === null || size.size.value >= 0)) return size;
  report(
    env,
    "type/not-a-size",
    "`of` is preceded by a count",
    expr.span,
    size === null ? "not a size" : `this is ${size.size.key}`,
    "write `N of Layer(...)` with N a parameter or a whole number",
  );
  return null;
}

/** Evaluates arguments like those of `Model(...)` in a scope with no locals: for configs, tests and upcyclings. */
export function constructorOf(
  ctx: Context,
  scope: Instance["scope"],
  decl: LayerDecl,
  fields: readonly {
    readonly name: { readonly text: string; readonly span: Span };
    readonly value: Expr;
    readonly span: Span;
  }[],
): Value {
  const env = staticEnv(ctx, scope);
  return bindParameters(
    env,
    { kind: "constructor", decl, scope, bound: new Map() },
    fields.map((f) => ({ name: f.name, value: f.value, span: f.span })),
  );
}
