/**
 * Axes in brackets and types. A parameter such as `D` stands for the axis label that its argument had and for its size;
 * `I` may stand for a list of axes; primes make further labels of the same size. `matchPort` fits an argument to a
 * declared type by label first, then by position from the right, and says how to rename there and back.
 */
import type { AxisExpr, Expr, Name, TensorType as TypeSyntax } from "../../../grammar/ast.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import { withoutPrimes } from "../../graph/type.ts";
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { isMismatch } from "../../ops/mismatch.ts";
import { isPossible } from "./bounds.ts";
import type { Env } from "./context.ts";
import { describeAxis, evaluate, lookupName, report, unknownName, visibleAxes } from "./context.ts";
import type { AxisValue, Value } from "./value.ts";
import { describeValue } from "./value.ts";

/** A size as a value: integers and axes; null for anything else. */
export function toSize(value: Value): AxisValue | null {
  if (value.kind === "axis") return value;
  if (value.kind === "number" && Number.isInteger(value.value) && !value.float)
    return { kind: "axis", label: null, size: Dim.of(value.value), origin: null };
  return null;
}

/** The axes that a name stands for, with its primes added to their labels; null when it is not bound yet. */
function axesOfName(env: Env, name: Name): readonly AxisValue[] | null {
  const base = withoutPrimes(name.text);
  const primes = name.text.slice(base.length);
  const value =
    env.locals.get(name.text) ??
    env.locals.get(base) ??
    (base === "T" || lookupName(env, base)?.kind === "axis" ? lookupName(env, base) : null);
  if (value == null) return null;
  const list = value.kind === "list" ? value.items : [value];
  const axes: AxisValue[] = [];
  for (const item of list) {
    const size = toSize(item);
    if (size === null) return null;
    axes.push({ ...size, label: (size.label ?? base) + (env.locals.has(name.text) && primes !== "" ? "" : primes) });
  }
  return axes;
}

/** Axes named by one bracket item: `D`, `I'`, `[G, R, C]`, `G*R*C` (each factor an axis). Reports what is not an axis. */
export function resolveAxes(env: Env, expr: Expr): readonly AxisValue[] | null {
  const axes = axesNamed(env, expr);
  if (axes !== null) tellAxes(env, expr, axes);
  return axes;
}

function tellAxes(env: Env, expr: Expr, axes: readonly AxisValue[]): void {
  env.ctx.observer?.value(env, expr, axes.length === 1 ? axes[0]! : { kind: "list", items: axes });
}

function axesNamed(env: Env, expr: Expr): readonly AxisValue[] | null {
  if (expr.kind === "list") {
    const parts = expr.items.map((item) => resolveAxes(env, item));
    return parts.includes(null) ? null : (parts as (readonly AxisValue[])[]).flat();
  }
  if (expr.kind === "binary" && expr.op === "*") {
    const left = resolveAxes(env, expr.left);
    const right = resolveAxes(env, expr.right);
    return left === null || right === null ? null : [...left, ...right];
  }
  if (expr.kind === "rest" && env.instance?.rest != null)
    return env.instance.rest.map(({ name, size, origin }) => ({ kind: "axis", label: name, size, origin }));
  if (expr.kind === "rest") {
    restHere(env, expr.span);
    return null;
  }
  if (expr.kind === "name") {
    const axes = axesOfName(env, expr.name);
    if (axes !== null) return axes.map((a) => ({ ...a, origin: a.origin ?? expr.span }));
    const value = lookupName(env, expr.name.text);
    if (value === null) unknownName(env, expr.name.text, expr.span, "axis");
    else if (value.kind !== "error")
      report(
        env,
        "type/not-an-axis",
        `an axis is needed here, not ${describeValue(value)}`,
        expr.span,
        "not an axis",
        value.kind === "pool"
          ? "they can be reduced over, with `sum`, `mean`, `min` and `max`"
          : `the axes here are ${visibleAxes(env).join(", ")}`,
      );
    return null;
  }
  const size = toSize(evaluate(env, expr));
  if (size !== null) return [{ ...size, origin: expr.span }];
  report(
    env,
    "type/not-an-axis",
    "an axis is needed here",
    expr.span,
    "not an axis",
    `the axes here are ${visibleAxes(env).join(", ")}`,
  );
  return null;
}

/** `..` where it stands for no axes. */
export function restHere(env: Env, span: Span): Value {
  return report(
    env,
    "type/stray-rest",
    "`..` stands for the axes of what an optimizer steps, and only in its states",
    span,
    "not allowed here",
    "name the axes, such as `state[N](zeros)`",
  );
}

/** Like `resolveAxes`, for an item that must be one axis with a label. */
export function resolveAxis(env: Env, expr: Expr): Axis | null {
  const axes = resolveAxes(env, expr);
  const [axis, ...rest] = axes ?? [];
  if (axes !== null && (axis === undefined || rest.length > 0))
    report(env, "type/not-an-axis", "one axis is needed here", expr.span, `these are ${axes.length} axes`);
  return axis === undefined || rest.length > 0 ? null : toAxis(axis, "axis");
}

export function toAxis(value: AxisValue, fallback: string): Axis {
  return { name: value.label ?? fallback, size: value.size, origin: value.origin };
}

/** How an argument was fitted: labels in the callee and outside. */
export interface PortMatch {
  readonly node: Node;
  /** Callee label -> caller label, for the axes that were renamed. */
  readonly back: ReadonlyMap<string, string>;
}

interface Wanted {
  readonly name: string | null;
  readonly axis: AxisValue | null;
  readonly span: Span;
}

/**
 * Fits a tensor to a declared type. Names of the type that are not bound yet are bound to the argument's axes. Axes that
 * the type does not name are allowed where it says `..`, and for banks of experts, which ride along.
 */
export function matchPort(
  env: Env,
  type: TypeSyntax,
  node: Node,
  span: Span,
  what: string,
  banks: readonly Axis[],
  made: Span | null,
): PortMatch | null {
  const named = namedAxes(env, type);
  if (named === null) return null;
  const { wanted, rest } = named;
  const free = [...node.type.axes];
  const matched = new Map<Wanted, Axis>();
  for (const w of wanted) {
    const at = free.findIndex((a) => w.axis !== null && a.name === w.axis.label);
    if (at >= 0) matched.set(w, free.splice(at, 1)[0]!);
  }
  const positional = free.filter((a) => !banks.some((b) => b.name === a.name));
  for (const w of [...wanted].reverse()) {
    if (matched.has(w)) continue;
    // By position from the right; a bound axis with a label is only fitted to one of equal size.
    const last = positional.at(-1);
    if (last === undefined || (w.axis !== null && w.axis.label !== null && !w.axis.size.equals(last.size) && rest)) {
      if (last !== undefined && w.axis !== null && w.axis.label === w.name) {
        reportSizes(env, w.axis, last, span, what, node);
        return null;
      }
      const label = w.axis?.label ?? w.name ?? w.axis?.size.key;
      const alias = w.name === null || w.name === label ? "" : `, which it calls \`${w.name}\``;
      report(
        env,
        "shape/missing-axis",
        `${what} needs an axis \`${label}\`${alias}`,
        span,
        `this has axes [${node.type.axes.map((a) => a.name).join(", ")}]`,
        null,
        [made === null ? { span: w.span, text: "declared here" } : { span: made, text: "made here" }],
      );
      return null;
    }
    positional.pop();
    free.splice(free.indexOf(last), 1);
    matched.set(w, last);
  }
  if (!rest && positional.length > 0) {
    report(
      env,
      "shape/extra-axis",
      `${what} does not take an axis \`${positional[0]!.name}\``,
      span,
      `this has axes [${node.type.axes.map((a) => a.name).join(", ")}]`,
      "add `..` to the declared type if further axes may ride along",
      [made === null ? { span: type.span, text: "declared here" } : { span: made, text: "made here" }],
    );
    return null;
  }
  return renameTo(env, node, wanted, matched, span, what);
}

function renameTo(
  env: Env,
  node: Node,
  wanted: readonly Wanted[],
  matched: ReadonlyMap<Wanted, Axis>,
  span: Span,
  what: string,
): PortMatch | null {
  const back = new Map<string, string>();
  let current = node;
  for (const w of wanted) {
    const actual = matched.get(w)!;
    if (w.axis === null) {
      env.locals.set(w.name!, {
        kind: "axis",
        label: actual.name,
        size: actual.size,
        origin: actual.origin ?? node.origin,
      });
      continue;
    }
    if (!w.axis.size.equals(actual.size)) {
      reportSizes(env, { ...w.axis, label: w.axis.label ?? w.name }, actual, span, what, node);
      return null;
    }
    const label = w.axis.label ?? w.name ?? actual.name;
    if (label === actual.name) continue;
    const renamed = env.ctx.builder.add("rename", [current], { from: actual.name, to: label }, span);
    if (isMismatch(renamed)) {
      report(
        env,
        renamed.code,
        `${what} calls axis \`${actual.name}\` \`${label}\`, and what it is given has another axis \`${label}\``,
        span,
        `this has axes [${node.type.axes.map((a) => a.name).join(", ")}]`,
        `rename the other one first: \`x[${label} -> ${label}']\``,
        [{ span: w.span, text: "declared here" }],
      );
      return null;
    }
    current = renamed;
    back.set(label, actual.name);
  }
  return { node: current, back };
}

function reportSizes(env: Env, wanted: AxisValue, actual: Axis, span: Span, what: string, node: Node): void {
  const own = wanted.label ?? actual.name;
  const origins = [
    [wanted.origin, wanted.size.key],
    [actual.origin ?? node.origin, actual.size.key],
  ] as const;
  const labels = origins.flatMap(([place, key]) =>
    place === null ? [] : [{ span: place, text: `${key} comes from here` }],
  );
  const given = `but it is given ${describeAxis(actual.name, actual.size)}`;
  report(
    env,
    "shape/axis-mismatch",
    own === wanted.size.key
      ? `${what} needs axis \`${own}\`, ${given}`
      : `axis \`${own}\` of ${what} is ${wanted.size.key}, ${given}`,
    span,
    `this has axes [${node.type.axes.map((a) => a.name).join(", ")}]`,
    null,
    labels.filter((l, i) => labels.findIndex((m) => m.span === l.span) === i),
  );
}

/** The axes that a type names, and whether it has `..`. Null after reporting what is no axis, or is named twice. */
function namedAxes(env: Env, type: TypeSyntax): { readonly wanted: readonly Wanted[]; readonly rest: boolean } | null {
  const wanted: Wanted[] = [];
  for (const axis of type.axes) {
    const named = axis.kind === "rest" ? [] : wantedAxes(env, axis);
    if (named === null) return null;
    for (const w of named) {
      const label = labelOf(w);
      const first = label === null ? undefined : wanted.find((other) => labelOf(other) === label);
      if (first !== undefined) {
        const twice = w.span === first.span ? [] : [{ span: first.span, text: "first here" }];
        report(
          env,
          "shape/duplicate-axis",
          `the type has axis \`${label}\` twice`,
          w.span,
          "again here",
          `write \`${label}'\` for a second axis of the same size`,
          twice,
        );
        return null;
      }
      wanted.push(w);
    }
  }
  return { wanted, rest: type.axes.some((axis) => axis.kind === "rest") };
}

const labelOf = ({ name, axis }: Wanted): string | null => axis?.label ?? name;

/** Null after reporting a size that none can be. */
function wantedAxes(env: Env, axis: Extract<AxisExpr, { kind: "axis" }>): readonly Wanted[] | null {
  const { label, size, span } = axis;
  if (size.kind === "name" && (label === null || label.text === size.name.text)) {
    const bound = axesOfName(env, size.name);
    if (bound === null) return [{ name: size.name.text, axis: null, span }];
    tellAxes(env, size, bound);
    return bound.map((a) => ({ name: size.name.text, axis: a, span }));
  }
  const found = evaluate(env, size);
  const value = toSize(found);
  if (value === null) {
    if (found.kind !== "error")
      report(
        env,
        "type/not-a-size",
        "an axis of a type has a size",
        size.span,
        `this is ${describeValue(found)}`,
        "write a name such as `D`, or whole numbers and sizes",
      );
    return null;
  }
  const named: AxisValue = { ...value, label: label?.text ?? value.label, origin: span };
  if (!isPossible(env, toAxis(named, textOf(size.span)), "this type", span)) return null;
  if (label !== null) env.locals.set(label.text, named);
  return [{ name: label?.text ?? null, axis: named, span }];
}

/** Axes of a type whose names are all bound: results, parameters, declared inputs of a model. Null after reporting what is wrong. */
export function declaredAxes(
  env: Env,
  type: TypeSyntax,
): { readonly axes: readonly Axis[]; readonly rest: boolean; readonly unnamed: ReadonlySet<string> } | null {
  const named = namedAxes(env, type);
  if (named === null) return null;
  const axes: Axis[] = [];
  const unnamed = new Set<string>();
  for (const w of named.wanted) {
    if (w.axis === null) {
      unknownName(env, w.name ?? "?", w.span, "axis");
      return null;
    }
    const name = labelOf(w) ?? `axis${unnamed.size}`;
    if (labelOf(w) === null) unnamed.add(name);
    axes.push({ name, size: w.axis.size, origin: w.span });
  }
  return { axes, rest: named.rest, unnamed };
}
