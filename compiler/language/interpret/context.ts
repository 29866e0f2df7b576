/**
 * What the walk carries: where diagnostics go, the graph under construction, the functions built so far, and per body
 * the names in scope. `check` mode reads definitions with symbolic sizes, `build` mode instances with known ones; the
 * rules are the same, and only facts that need a number (a comparison, a loop count) are assumed in `check` mode.
 */
import type { Arg, DimDecl, Expr, LayerDecl, Name } from "../../../grammar/ast.ts";
import type { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import type { Label } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { GraphFunction, Node, Output } from "../../graph/node.ts";
import { TIME } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import type { Scope } from "../resolve/scope.ts";
import { BUILTINS } from "../builtins.ts";
import type { AxisValue, Instance, ParameterInfo, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

export interface Context {
  readonly bag: DiagnosticBag;
  readonly builder: Builder;
  readonly mode: "check" | "build";
  readonly purpose: Purpose;
  /** Parts whose input is told as a metric (`probe.ts`). */
  readonly probes: ReadonlySet<string>;
  /** One graph function per template that a `for` runs over, by its path. */
  readonly functions: Map<string, GraphFunction>;
  /** The work done so far, and how deep inside of expressions it is: bounded by `LIMITS.steps` and `LIMITS.expansion`. */
  readonly meter: { steps: number; depth: number };
  /** What each `dim` is, once it has been read; null while it is being read. */
  readonly dims: Map<DimDecl, Value | null>;
  /** Layers being made, outermost first. */
  readonly nesting: LayerDecl[];
  /** For messages about nodes of a finished program: an op's own place may be in a function that many layers call. */
  readonly sites: Map<Node, Site>;
  /** Told what is read, where somebody wants to know; null when a model is built. */
  readonly observer: Observer | null;
  /** The two entries of the walk, held here so that its files need not import each other in circles. */
  readonly walk: Walk;
}

/**
 * What the program is for: `training` and `generating` are true or false by it. A program for generation may follow another rule
 * than the one that it was trained with, where that one looks at later tokens.
 */
export type Purpose = "evaluate" | "train" | "generate";

/**
 * Sees what the walk reads, as an editor wants it. A body is read once per place that it is expanded at: `env.calls` says where, `env.instance`
 * whose it is and at which sizes. An observer changes nothing, and copies what it keeps: `env.locals` goes on changing.
 */
export interface Observer {
  /** An expression, and what it is here; that of an axis in brackets or types, too. */
  readonly value: (env: Env, expr: Expr, value: Value) => void;
  /** A name whose meaning another value decides, behind a point or before a colon: `declared` is where that says it. */
  readonly name: (use: Name, declared: Name) => void;
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
  /** The function or operator whose nodes are being added, as it is written; for messages. */
  readonly word?: string;
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
  // Why nothing is known of it has been told where it is declared or imported.
  if (binding === null && env.scope.isUnread(name)) return ERROR;
  if (binding !== null) {
    const { item, scope } = binding;
    if (item.kind === "fn") return { kind: "fn", decl: item, scope };
    if (item.kind === "layer") return { kind: "constructor", decl: item, scope, bound: new Map() };
    if (item.kind === "dim") return evaluateDim(env, item, scope);
  }
  if (name === TIME) return TIME_AXIS;
  if (name === "batch" || name === "global") return { kind: "pool", scope: name };
  if (name === "none") return { kind: "none" };
  if (name === "causal") return { kind: "flag", name };
  if (name === "training") return { kind: "bool", value: env.ctx.purpose === "train" };
  if (name === "generating") return { kind: "bool", value: env.ctx.purpose === "generate" };
  if (name === "zeros" || name === "ones") return { kind: "init", init: { kind: name } };
  return BUILTINS.has(name) ? { kind: "builtin", name } : null;
}

/** `dim H = 128`: an axis label and its size, read once. Reports what is no size, and what is needed to know itself. */
export function evaluateDim(env: Env, dim: DimDecl, scope: Scope): Value {
  const { dims } = env.ctx;
  const known = dims.get(dim);
  if (known === null)
    return report(
      env,
      "name/recursion",
      `the size of \`${dim.name.text}\` is needed to know itself`,
      dim.size.span,
      "it comes back to itself from here",
      "give one of the sizes on the way a number",
    );
  if (known !== undefined) return known;
  dims.set(dim, null);
  const found = sizeOfDim({ ...env, scope, locals: new Map(), instance: null }, dim);
  dims.set(dim, found);
  return found;
}

function sizeOfDim(env: Env, { name, size }: DimDecl): Value {
  const value = evaluate(env, size);
  if (value.kind === "error") return ERROR;
  const known =
    value.kind === "number" && !value.float ? Dim.of(value.value) : value.kind === "axis" ? value.size : null;
  if (known !== null) return { kind: "axis", label: name.text, size: known, origin: size.span };
  return report(
    env,
    "type/not-a-size",
    `\`${name.text}\` is declared as a size`,
    size.span,
    `this is ${describeValue(value)}`,
    "write a whole number, such as `dim H = 128`",
    [{ span: name.span, text: "declared here" }],
  );
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
      : [...env.locals.keys(), ...(env.instance?.members.keys() ?? []), ...env.scope.names(), ...BUILTINS.keys()];
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
