/** Reads what a builtin is given: operands as nodes, axes in brackets, numbers and options. Each reports what does not fit. */
import type { Expr } from "../../grammar/ast.ts";
import type { Span } from "../../grammar/span.ts";
import type { Node } from "../graph/node.ts";
import type { Axis } from "../graph/type.ts";
import { toNode, toNumber } from "./arithmetic.ts";
import { resolveAxes, resolveAxis, toAxis } from "./axes.ts";
import type { Env } from "./context.ts";
import { report } from "./context.ts";
import type { Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

/** What a builtin is given. `tensor(i)` and the like report and give null. */
export interface Given {
  readonly env: Env;
  readonly name: string;
  readonly span: Span;
  readonly brackets: readonly Expr[];
  readonly positional: readonly { readonly value: Value; readonly span: Span }[];
  readonly named: ReadonlyMap<string, { readonly value: Value; readonly span: Span }>;
}

export function withNodes(g: Given, count: number, then: (nodes: readonly Node[]) => Value): Value {
  if (g.positional.length < count)
    return report(
      g.env,
      "type/missing-argument",
      `\`${g.name}\` needs ${count} argument${count === 1 ? "" : "s"}`,
      g.span,
      `${g.positional.length} given`,
    );
  const like = g.positional.find((p) => p.value.kind === "tensor");
  const nodes: Node[] = [];
  for (const p of g.positional.slice(0, count)) {
    const node = toNode(g.env, p.value, like?.value.kind === "tensor" ? like.value.node : null, p.span);
    if (node === null) return ERROR;
    nodes.push(node);
  }
  return then(nodes);
}

export function withAxes(g: Given, then: (axes: readonly Axis[]) => Value): Value {
  const axes: Axis[] = [];
  for (const item of g.brackets) {
    const resolved = resolveAxes(g.env, item);
    if (resolved === null) return ERROR;
    axes.push(...resolved.map((a) => toAxis(a, "axis")));
  }
  return axes.length > 0
    ? then(axes)
    : report(
        g.env,
        "type/axis-count",
        `\`${g.name}\` names its axes in brackets`,
        g.span,
        "none named",
        `write \`${g.name}[D](...)\``,
      );
}

export function withAxis(g: Given, then: (axis: Axis) => Value): Value {
  return withItem(g, (item) => {
    const axis = resolveAxis(g.env, item);
    return axis === null ? ERROR : then(axis);
  });
}

/** The one item in brackets, for builtins that read it themselves. */
export function withItem(g: Given, then: (item: Expr) => Value): Value {
  const [item, ...more] = g.brackets;
  if (item !== undefined && more.length === 0) return then(item);
  return report(
    g.env,
    "type/axis-count",
    `\`${g.name}\` names one axis in brackets`,
    g.span,
    `${g.brackets.length} named`,
    `write \`${g.name}[D](...)\``,
  );
}

/** `[A -> B*C]`. A name on the right that is not bound yet is a new label; only `merge` can size it. */
export function withArrow(g: Given, then: (from: readonly Axis[], to: readonly Axis[]) => Value): Value {
  const [item, ...more] = g.brackets;
  if (item?.kind !== "arrow" || more.length > 0)
    return report(
      g.env,
      "type/axis-count",
      `\`${g.name}\` takes \`from -> to\` in brackets`,
      g.span,
      "not given",
      `write \`${g.name}[A -> B](...)\``,
    );
  const from = resolveAxes(g.env, item.from);
  const to = resolveAxes(g.env, item.to);
  return from === null || to === null
    ? ERROR
    : then(
        from.map((a) => toAxis(a, "axis")),
        to.map((a) => toAxis(a, "axis")),
      );
}

export function labels(axes: readonly Axis[]): readonly string[] {
  return axes.map((a) => a.name);
}

export function number(g: Given, i: number): number | null {
  const value = g.positional[i]?.value;
  return value?.kind === "number" || value?.kind === "axis" ? toNumber(value) : null;
}

export function option(g: Given, name: string, fallback: boolean | number | null): boolean | number | null {
  const value = g.named.get(name)?.value;
  if (value === undefined) return fallback;
  if (value.kind === "bool") return value.value;
  if (value.kind === "number" || value.kind === "axis") return toNumber(value);
  if (value.kind !== "none")
    report(
      g.env,
      "type/bad-operand",
      `\`${name}\` of \`${g.name}\` is a number, not ${describeValue(value)}`,
      g.named.get(name)!.span,
      "given here",
    );
  return null;
}

export function numberOption(g: Given, name: string, fallback: number): number {
  const value = option(g, name, g.positional.length > 0 ? number(g, 0) : fallback);
  return typeof value === "number" ? value : fallback;
}

export function seedOption(g: Given): number | null {
  const value = option(g, "seed", null);
  return typeof value === "number" ? value : null;
}
