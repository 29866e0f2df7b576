/**
 * What the walk carries: where diagnostics go, the graph under construction, the functions built so far, and per body
 * the names in scope. `check` mode reads definitions with symbolic sizes, `build` mode instances with known ones; the
 * rules are the same, and only facts that need a number (a comparison, a loop count) are assumed in `check` mode.
 */
import type { Arg, Expr } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Label } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";
import type { Span } from "../../grammar/span.ts";
import type { Attrs, OpName } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import type { GraphFunction, Node, Output } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import type { Mismatch } from "../ops/define.ts";
import type { Scope } from "../resolve/modules.ts";
import { BUILTIN_NAMES } from "../resolve/modules.ts";
import type { AxisValue, Instance, ParameterInfo, Value } from "./value.ts";
import { ERROR } from "./value.ts";

export interface Context {
  readonly bag: DiagnosticBag;
  readonly builder: Builder;
  readonly mode: "check" | "build";
  /** One graph function per template that a `for` runs over, by its path. */
  readonly functions: Map<string, GraphFunction>;
  /** The two entries of the walk, held here so that its files need not import each other in circles. */
  readonly walk: Walk;
}

export interface Walk {
  readonly evaluate: (env: Env, expr: Expr) => Value;
  /** Applies an instance in place. */
  readonly expandLayer: (env: Env, instance: Instance, args: readonly Arg[], span: Span) => Value;
}

export function evaluate(env: Env, expr: Expr): Value {
  return env.ctx.walk.evaluate(env, expr);
}

export function expandLayer(env: Env, instance: Instance, args: readonly Arg[], span: Span): Value {
  return env.ctx.walk.expandLayer(env, instance, args, span);
}

/** Marks a loop variable's instance among the locals: `b` of `for b in blocks`. */
export const STACKED = "stacked ";

/** Losses and metrics of the function being built. */
export type Sink = Output[];

export interface Env {
  readonly ctx: Context;
  readonly scope: Scope;
  readonly locals: Map<string, Value>;
  /** The layer whose forward (or members) is being read. */
  readonly instance: Instance | null;
  /** Null outside forward bodies: no tensors there. */
  readonly sink: Sink | null;
  /** Functions being expanded, to stop recursion. */
  readonly calls: readonly string[];
}

export const TIME_AXIS: AxisValue = { kind: "axis", label: TIME, size: Dim.of(TIME), origin: null };

/** The meaning of a name: local, member of the enclosing layer, declaration, builtin. Null when there is none. */
export function lookupName(env: Env, name: string): Value | null {
  const local = env.locals.get(name);
  if (local !== undefined) return local;
  const member = env.instance?.members.get(name);
  if (member !== undefined) {
    switch (member.kind) {
      case "layer": return { kind: "layer", instance: member.instance };
      case "value": return member.value;
      case "parameter": return env.sink === null ? ERROR : { kind: "tensor", node: parameterNode(env, member.parameter) };
      case "absent": return { kind: "none" };
      case "stack": return { kind: "layer", instance: member.template };
    }
  }
  const binding = env.scope.lookup(name);
  if (binding !== null) {
    const { item, scope } = binding;
    if (item.kind === "fn") return { kind: "fn", decl: item, scope };
    if (item.kind === "layer") return { kind: "constructor", decl: item, scope, bound: new Map() };
    if (item.kind === "dim") return evaluateDim(env, name, item.size, scope);
  }
  if (name === TIME) return TIME_AXIS;
  if (name === "none") return { kind: "none" };
  if (name === "causal") return { kind: "flag", name };
  if (name === "zeros" || name === "ones") return { kind: "init", init: { kind: name } };
  return BUILTIN_NAMES.has(name) ? { kind: "builtin", name } : null;
}

/** `dim H = 128`: an axis label and its size. */
function evaluateDim(env: Env, name: string, size: Expr, scope: Scope): Value {
  const value = evaluate({ ...env, scope, locals: new Map(), instance: null }, size);
  const known = value.kind === "number" && !value.float ? Dim.of(value.value) : value.kind === "axis" ? value.size : null;
  return known === null ? ERROR : { kind: "axis", label: name, size: known, origin: size.span };
}

export function parameterNode(env: Env, parameter: ParameterInfo): Node {
  return env.ctx.builder.must("param", [], { path: parameter.path, type: { dtype: "f32", axes: parameter.axes } }, parameter.span);
}

/** Reports a name that means nothing, with the nearest that does. */
export function unknownName(env: Env, name: string, span: Span, what = "name"): Value {
  const visible = [...env.locals.keys(), ...(env.instance?.members.keys() ?? []), ...env.scope.names(), ...BUILTIN_NAMES];
  const near = suggest(name, visible);
  env.ctx.bag.error("name/unknown", `there is no ${what} \`${name}\` here`, [{ span, text: "not found in this scope" }],
    near === null ? "declare it, or import it at the top of the file" : `did you mean \`${near}\`?`);
  return ERROR;
}

export function report(env: Env, code: string, message: string, span: Span, text: string, help: string | null = null, more: readonly Label[] = []): Value {
  env.ctx.bag.error(code, message, [{ span, text }, ...more], help);
  return ERROR;
}

/** Adds a node, or reports why the op's type rule does not hold, with the places that the sizes came from. */
export function addNode<O extends OpName>(env: Env, op: O, inputs: readonly Node[], attrs: Attrs[O], span: Span): Value {
  const made = env.ctx.builder.add(op, inputs, attrs, span);
  if (!("kind" in made)) return { kind: "tensor", node: made };
  reportMismatch(env, made, inputs, span);
  return ERROR;
}

function reportMismatch(env: Env, m: Mismatch, inputs: readonly Node[], span: Span): void {
  const labels: Label[] = [{ span, text: "in this expression" }];
  const seen = new Set<string>();
  for (const i of m.inputs) {
    const node = inputs[i];
    const axis = node?.type.axes.find((a) => a.name === m.axis);
    const place = axis?.origin ?? node?.origin;
    if (node === undefined || place == null) continue;
    const text = axis === undefined ? `this has axes [${node.type.axes.map((a) => a.name).join(", ")}]` : `axis \`${axis.name}\` is ${axis.size.key} from here`;
    const key = `${place.file.path}:${place.start}:${text}`;
    if (!seen.has(key)) labels.push({ span: place, text });
    seen.add(key);
  }
  env.ctx.bag.error(m.code, m.message, labels, m.help);
}
