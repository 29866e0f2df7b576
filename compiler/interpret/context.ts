/**
 * What the walk carries: where diagnostics go, the graph under construction, the functions built so far, and per body
 * the names in scope. `check` mode reads definitions with symbolic sizes, `build` mode instances with known ones; the
 * rules are the same, and only facts that need a number (a comparison, a loop count) are assumed in `check` mode.
 */
import type { Arg, Expr, LayerDecl } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Label } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";
import { textOf, type Span } from "../../grammar/span.ts";
import type { Attrs, OpName } from "../graph/attrs.ts";
import { Dim } from "../graph/dim.ts";
import type { GraphFunction, Node, Output } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import { timeRule } from "../ops/time.ts";
import type { Mismatch } from "../ops/define.ts";
import type { Scope } from "../resolve/modules.ts";
import { BUILTIN_NAMES } from "../resolve/modules.ts";
import type { AxisValue, Instance, ParameterInfo, Value } from "./value.ts";
import { ERROR } from "./value.ts";

export interface Context {
  readonly bag: DiagnosticBag;
  readonly builder: Builder;
  readonly mode: "check" | "build";
  readonly purpose: Purpose;
  /** Parts whose input is told as a metric (`probe.ts`). */
  readonly probes: ReadonlySet<string>;
  /** One graph function per template that a `for` runs over, by its path. */
  readonly functions: Map<string, GraphFunction>;
  /** Layers being made, outermost first. */
  readonly nesting: LayerDecl[];
  /** For messages about nodes of a finished program: an op's own place may be in a function that many layers call. */
  readonly sites: Map<Node, Site>;
  /** The two entries of the walk, held here so that its files need not import each other in circles. */
  readonly walk: Walk;
}

/**
 * What the program is for: `training` and `generating` are true or false by it. A program for generation may follow another rule
 * than the one that it was trained with, where that one looks at later tokens.
 */
export type Purpose = "evaluate" | "train" | "generate";

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

export interface Call {
  readonly name: string;
  readonly span: Span;
  /** What is applied, where it is a layer and no function. */
  readonly layer?: LayerDecl;
}

/** Where a node comes from in terms of layers: what the innermost layer's own body says, and how it came to be applied. */
export interface Site {
  readonly span: Span;
  readonly layers: readonly Call[];
}

export interface Env {
  readonly ctx: Context;
  readonly scope: Scope;
  readonly locals: Map<string, Value>;
  /** The layer whose forward (or members) is being read. */
  readonly instance: Instance | null;
  /** Null outside forward bodies: no tensors there. */
  readonly sink: Sink | null;
  /** bool [T], where only some of a sequence's tokens are there: `within(kept, ...)`. */
  readonly kept?: Node | null;
  /** True inside of `loss`, `metric` and `update`, where `batch` and `global` can be reduced over. */
  readonly pools: boolean;
  /** Functions and layers being expanded, outermost first: to stop recursion, and to say where a message comes from. */
  readonly calls: readonly Call[];
}

/** Where names mean `locals` and what `scope` declares: outside of layers, where there are no tensors. */
export function staticEnv(ctx: Context, scope: Scope, locals: Map<string, Value> = new Map()): Env {
  return { ctx, scope, locals, instance: null, sink: null, pools: false, calls: [] };
}

export const TIME_AXIS: AxisValue = { kind: "axis", label: TIME, size: Dim.of(TIME), origin: null };

/** The meaning of a name: local, member of the enclosing layer, declaration, builtin. Null when there is none. */
export function lookupName(env: Env, name: string): Value | null {
  const local = env.locals.get(name);
  if (local !== undefined) return local;
  const member = env.instance?.members.get(name);
  if (member !== undefined) {
    switch (member.kind) {
      case "layer":
        return { kind: "layer", instance: member.instance };
      case "value":
        return member.value;
      case "parameter":
        return env.sink === null ? ERROR : { kind: "tensor", node: parameterNode(env, member.parameter) };
      case "absent":
        return { kind: "none" };
      case "stack":
        return member.layers[0] === undefined ? ERROR : { kind: "layer", instance: member.layers[0] };
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
  if (name === "batch" || name === "global") return { kind: "pool", scope: name };
  if (name === "none") return { kind: "none" };
  if (name === "causal") return { kind: "flag", name };
  if (name === "training") return { kind: "bool", value: env.ctx.purpose === "train" };
  if (name === "generating") return { kind: "bool", value: env.ctx.purpose === "generate" };
  if (name === "zeros" || name === "ones") return { kind: "init", init: { kind: name } };
  return BUILTIN_NAMES.has(name) ? { kind: "builtin", name } : null;
}

/** `dim H = 128`: an axis label and its size. */
function evaluateDim(env: Env, name: string, size: Expr, scope: Scope): Value {
  const value = evaluate({ ...env, scope, locals: new Map(), instance: null }, size);
  const known =
    value.kind === "number" && !value.float ? Dim.of(value.value) : value.kind === "axis" ? value.size : null;
  return known === null ? ERROR : { kind: "axis", label: name, size: known, origin: size.span };
}

/** The value of a parameter, or of a state, to which no gradient flows. */
export function parameterNode(env: Env, { path, axes, span, state }: ParameterInfo): Node {
  const b = env.ctx.builder;
  const node = b.must("param", [], { path, type: { dtype: "f32", axes } }, span);
  return state ? b.must("detach", [node], {}, span) : node;
}

/** Names of axes that brackets and types may use, for suggestions. */
export function visibleAxes(env: Env): readonly string[] {
  return [
    TIME,
    ...[...env.locals].filter(([, value]) => value.kind === "axis" && value.label !== null).map(([name]) => name),
  ];
}

/** Reports a name that means nothing, with the nearest that does. */
export function unknownName(env: Env, name: string, span: Span, what: "name" | "axis" = "name"): Value {
  const axes = visibleAxes(env);
  const visible =
    what === "axis"
      ? axes
      : [...env.locals.keys(), ...(env.instance?.members.keys() ?? []), ...env.scope.names(), ...BUILTIN_NAMES];
  const near = suggest(name, visible);
  const help = env.scope.isExported(name)
    ? `add \`import { ${name} } from "std"\``
    : near !== null
      ? `did you mean \`${near}\`?`
      : what === "axis"
        ? `the axes here are ${axes.join(", ")}`
        : "declare it, or import it at the top of the file";
  return report(env, "name/unknown", `there is no ${what} \`${name}\` here`, span, "not found in this scope", help);
}

/** Adds an error; the nearest call in another file is shown with it, for that is where its author can do something. */
export function report(
  env: Env,
  code: string,
  message: string,
  span: Span,
  text: string,
  help: string | null = null,
  more: readonly Label[] = [],
): Value {
  const labels: Label[] = [{ span, text }, ...more];
  const caller = env.calls.findLast((call) => call.span.file !== span.file);
  if (caller !== undefined && !labels.some((l) => l.span.file === caller.span.file))
    labels.push({ span: caller.span, text: `\`${caller.name}\` is called here` });
  env.ctx.bag.error(code, message, labels, help);
  return ERROR;
}

/** `1 argument`, `2 arguments`. */
export function countOf(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

/** A size for people: its number or formula, or nothing to add when it is just the axis itself. */
export function describeAxis(name: string, size: Dim): string {
  return size.key === name ? `axis \`${name}\`` : `axis \`${name}\` of ${size.key}`;
}

/** Adds a node, or reports why the op's type rule does not hold, with the places that the sizes came from. */
export function addNode<O extends OpName>(
  env: Env,
  op: O,
  inputs: readonly Node[],
  attrs: Attrs[O],
  span: Span,
): Value {
  const made = env.ctx.builder.add(op, inputs, attrs, span);
  if (!("kind" in made)) {
    if (env.kept != null && timeRule(made) !== "pointwise")
      return report(
        env,
        "time/within",
        `\`${textOf(span).match(/^\w+/)?.[0] ?? op}\` mixes tokens, and here only some of them are there`,
        span,
        "inside of `within`",
        "attention, running sums, `scan` and `delta_rule` can leave tokens out",
      );
    const inner = env.calls.findLastIndex((call) => call.layer !== undefined);
    const layers = env.calls.filter((call) => call.layer !== undefined);
    if (!env.ctx.sites.has(made)) env.ctx.sites.set(made, { span: env.calls[inner + 1]?.span ?? span, layers });
    return { kind: "tensor", node: made };
  }
  reportMismatch(env, made, inputs, span);
  return ERROR;
}

function reportMismatch(env: Env, m: Mismatch, inputs: readonly Node[], span: Span): void {
  const labels: Label[] = [];
  const seen = new Set<string>();
  for (const i of m.inputs) {
    const node = inputs[i];
    const axis = node?.type.axes.find((a) => a.name === m.axis);
    const place = axis?.origin ?? node?.origin;
    if (node === undefined || place == null) continue;
    const names = node.type.axes.map((a) => a.name).join(", ");
    const text =
      axis !== undefined
        ? `${describeAxis(axis.name, axis.size)} comes from here`
        : m.code.startsWith("type/")
          ? `this is ${node.type.dtype}[${names}]`
          : `this has axes [${names}]`;
    const key = `${place.file.path}:${place.start}:${text}`;
    if (!seen.has(key)) labels.push({ span: place, text });
    seen.add(key);
  }
  // The op's own words begin with a verb when they are about it: "needs f32, but this is u32".
  const message = m.message.startsWith("needs ")
    ? `\`${textOf(span).match(/^\w+/)?.[0] ?? "this"}\` ${m.message}`
    : m.message;
  report(env, m.code, message, span, "in this expression", m.help, labels);
}
