/** Reads what a builtin is given: operands as nodes, axes in brackets, numbers and options. Each reports what does not fit. */
import type { Expr } from "../../../grammar/ast.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
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
    for (const axis of resolved.map((a) => toAxis(a, "axis"))) {
      if (axes.some((a) => a.name === axis.name))
        return report(
          g.env,
          "shape/duplicate-axis",
          `\`${g.name}\` names axis \`${axis.name}\` twice`,
          item.span,
          "again here",
          "name each axis once",
        );
      axes.push(axis);
    }
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

/** What a number may be, and what to say of one that is not. */
interface Kind {
  readonly holds: (value: number) => boolean;
  readonly words: string;
}

const isWhole = (value: number): boolean => Number.isInteger(value) && Math.abs(value) <= LIMITS.axis;

export const KINDS = {
  number: { holds: (x) => Math.abs(x) <= LIMITS.f32, words: "a number that f32 holds" },
  positive: { holds: (x) => x > 0 && x <= LIMITS.f32, words: "a number above 0" },
  notNegative: { holds: (x) => x >= 0 && x <= LIMITS.f32, words: "a number from 0" },
  whole: { holds: isWhole, words: `a whole number, at most ${LIMITS.axis}` },
  place: { holds: (x) => isWhole(x) && x >= 0, words: `a whole number from 0 to ${LIMITS.axis}` },
  count: { holds: (x) => isWhole(x) && x >= 1, words: `a whole number from 1 to ${LIMITS.axis}` },
  seed: { holds: (x) => Number.isInteger(x) && Math.abs(x) <= LIMITS.exact, words: "a whole number" },
} as const satisfies Record<string, Kind>;

/** A named number; `fallback` where it is not given or none, undefined after reporting one that it cannot be. */
export function numberOption<F>(g: Given, name: string, kind: keyof typeof KINDS, fallback: F): number | F | undefined {
  const given = g.named.get(name);
  return given === undefined || given.value.kind === "none" ? fallback : checked(g, `\`${name}\``, given, kind);
}

/** The number at a position; likewise. */
export function numberAt<F>(
  g: Given,
  i: number,
  what: string,
  kind: keyof typeof KINDS,
  fallback: F,
): number | F | undefined {
  const given = g.positional[i];
  return given === undefined ? fallback : checked(g, what, given, kind);
}

function checked(
  g: Given,
  what: string,
  { value, span }: { readonly value: Value; readonly span: Span },
  kind: keyof typeof KINDS,
): number | undefined {
  const { holds, words } = KINDS[kind];
  const number = value.kind === "number" || value.kind === "axis" ? toNumber(value) : null;
  // A size that is not known yet counts as 1, and what is computed from it may be anything.
  if (number !== null && (holds(number) || (value.kind === "number" && value.open === true))) return number;
  const origin = value.kind === "axis" ? value.origin : null;
  // Where it was given first is where its author can change it: in config.json, for one.
  const [at, text] = origin === null ? [span, "given here"] : [origin, `${number} comes from here`];
  report(
    g.env,
    "type/bad-operand",
    `${what} of \`${g.name}\` is ${words}, not ${number === null ? describeValue(value) : number}`,
    at,
    text,
    `give ${words}`,
    at === span ? [] : [{ span, text: "given to it here" }],
  );
  return undefined;
}

/** A named truth value, `fallback` where it is not given; undefined after reporting something else. */
export function flagOption(g: Given, name: string, fallback: boolean): boolean | undefined {
  const given = g.named.get(name);
  if (given === undefined) return fallback;
  if (given.value.kind === "bool") return given.value.value;
  report(
    g.env,
    "type/bad-operand",
    `\`${name}\` of \`${g.name}\` is true or false, not ${describeValue(given.value)}`,
    given.span,
    "given here",
    `write \`${name}: true\` or \`${name}: false\``,
  );
  return undefined;
}
