/**
 * The functions that every program has, by the table of `builtins.ts`. Each reads its axes from the brackets and its operands from the
 * arguments, and adds the nodes; types are the op rows' work. Ops whose rows say how they are called need nothing here.
 */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import type { Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { OpName } from "../../graph/attrs.ts";
import type { Node } from "../../graph/node.ts";
import type { Called } from "../../ops/define.ts";
import { calledScalars } from "../../graph/scalar.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME, withoutPrimes } from "../../graph/type.ts";
import { BUILTINS, calledOps, mostArguments, type OWN_FUNCTIONS } from "../builtins.ts";
import { toNode, toNumber } from "./arithmetic.ts";
import { resolveAxes, resolveAxis, toAxis } from "./axes.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { countOf, evaluate, lookupName, report, TIME_AXIS } from "./context.ts";
import type { Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";
import { contains, range, without } from "./lists.ts";
import type { Given } from "./given.ts";
import { flagOption, numberAt, numberOption, withArrow, withAxes, withAxis, withItem, withNodes } from "./given.ts";
import { reduceLayers, stackOf } from "./layer-metrics.ts";
import { mean, reduce } from "./pool.ts";
import { binary, cast, round, unary } from "./number-builtin.ts";
import { makeRoute, sumRouted } from "./route.ts";
import { timeBuiltins } from "./time-builtin.ts";

type Meaning = (g: Given) => Value;

/** Those of the language's own functions that are read as any call is. */
type Own = Exclude<keyof typeof OWN_FUNCTIONS, "within">;

const own: Readonly<Record<Own, Meaning>> = {
  min: (g) => (g.brackets.length > 0 ? reduce(g, "reduce_min") : binary(g, "min")),
  max: (g) => (g.brackets.length > 0 ? reduce(g, "reduce_max") : binary(g, "max")),
  f32: (g) => cast(g, "f32"),
  u32: (g) => cast(g, "u32"),
  i32: (g) => cast(g, "i32"),
  sum: (g) => sum(g),
  mean: (g) => mean(g),
  topk: (g) => topk(g),
  ranks: (g) => ranks(g),
  iota: (g) =>
    withAxis(g, (axis) =>
      axis.name === TIME
        ? addNode(g.env, "position", [], { axis }, g.span)
        : addNode(g.env, "iota", [], { axis }, g.span),
    ),
  position: (g) => addNode(g.env, "position", [], { axis: toAxis(TIME_AXIS, TIME) }, g.span),
  length: (g) => addNode(g.env, "length", [], { axis: toAxis(TIME_AXIS, TIME) }, g.span),
  draw: (g) => addNode(g.env, "draw", [], {}, g.span),
  values: (g) => withAxis(g, (axis) => listAlong(g, axis)),
  select: (g) => select(g),
  split: (g) =>
    withNodes(g, 1, ([x]) =>
      withArrow(g, (from, to) => addNode(g.env, "split", [x!], { axis: from[0]?.name ?? "", into: to }, g.span)),
    ),
  merge: (g) => withNodes(g, 1, ([x]) => merge(g, x!)),
  slice: (g) =>
    withNodes(g, 1, ([x]) =>
      withArrow(g, (from, to) => {
        const start = numberAt(g, 1, "the start", "place", 0);
        return start === undefined
          ? ERROR
          : addNode(g.env, "slice", [x!], { axis: from[0]?.name ?? "", start, to: to[0] ?? from[0]! }, g.span);
      }),
    ),
  roll: (g) =>
    withNodes(g, 1, ([x]) =>
      withAxis(g, ({ name: axis }) => {
        const by = numberAt(g, 1, "the distance", "whole", 0);
        return by === undefined ? ERROR : addNode(g.env, "roll", [x!], { axis, by }, g.span);
      }),
    ),
  concat: (g) =>
    withNodes(g, Math.max(1, g.positional.length), (xs) => withArrow(g, (from, to) => concat(g, xs, from, to))),
  route: (g) =>
    withNodes(g, 2, ([index, weight]) => withItem(g, (item) => makeRoute(g.env, item, index!, weight!, g.span))),
  ...timeBuiltins,
  contains,
  range,
  without,
  ceil: (g) => round(g, "ceil"),
  size: (g) => withAxis(g, (axis) => ({ kind: "axis", label: null, size: axis.size, origin: g.span })),
  normal: (g) => random(g, "std", 0.02, (std, seed) => ({ kind: "normal", std, seed })),
  uniform: (g) => random(g, "bound", 1, (bound, seed) => ({ kind: "uniform", bound, seed })),
  constant: (g) => {
    const value = numberAt(g, 0, "the value", "number", 0);
    return value === undefined ? ERROR : { kind: "init", init: { kind: "constant", value } };
  },
};

const meanings: ReadonlyMap<string, Meaning> = new Map([
  ...calledScalars().map(([op, { operands }]): [string, Meaning] => [
    op,
    operands === 1 ? (g) => unary(g, op) : (g) => binary(g, op),
  ]),
  ...calledOps().map(([op, called]): [string, Meaning] => [op, (g) => callOp(g, op, called)]),
  ...Object.entries(own),
]);

export function callBuiltin(env: Env, name: string, brackets: readonly Expr[], expr: CallExpr): Value {
  const meaning = meanings.get(name);
  const row = BUILTINS.get(name);
  if (meaning === undefined || row === undefined)
    return report(
      env,
      "type/not-callable",
      `\`${name}\` cannot be called here`,
      expr.span,
      "called here",
      row?.kind === "member" ? `it makes members: \`w = ${name}[D](zeros)\`` : null,
    );
  const [bracket] = brackets;
  if (bracket !== undefined && row.brackets === null)
    return report(
      env,
      "type/no-brackets",
      `\`${name}\` takes no axes in brackets`,
      bracket.span,
      "nothing is named here",
      `write \`${name}(...)\``,
    );
  const stack = stackOf(env, name, brackets);
  if (stack !== null) return reduceLayers(env, stack, name, expr);
  const args = expr.args.map((a) => ({ name: a.name, value: evaluate(env, a.value), span: a.span }));
  if (args.some((a) => a.value.kind === "error")) return ERROR;
  for (const arg of args) {
    if (arg.name !== null && !row.options.includes(arg.name.text)) {
      return report(
        env,
        "name/no-parameter",
        `\`${name}\` has no option \`${arg.name.text}\``,
        arg.span,
        "not an option",
        row.options.length === 0 ? null : `it takes ${row.options.join(", ")}`,
      );
    }
  }
  const positional = args.filter((a) => a.name === null && a.value.kind !== "flag");
  const most = mostArguments(row);
  if (most !== null && positional.length > most)
    return report(
      env,
      "type/too-many-arguments",
      `\`${name}\` takes ${most === 0 ? "no arguments" : `at most ${countOf(most, "argument")}`}`,
      positional[most]!.span,
      "one too many",
      "remove it",
    );
  return meaning({
    env: { ...env, word: name },
    name,
    brackets,
    span: expr.span,
    positional,
    named: new Map(
      args.flatMap((a): [string, { value: Value; span: Span }][] => {
        if (a.name !== null) return [[a.name.text, a]];
        return a.value.kind === "flag" ? [[a.value.name, { value: { kind: "bool", value: true }, span: a.span }]] : [];
      }),
    ),
  });
}

/** An op of which its row says all. */
function callOp(g: Given, op: OpName, { operands, brackets, attrs, options: usual = {} }: Called<OpName>): Value {
  const options: Record<string, number | boolean> = {};
  for (const [name, otherwise] of Object.entries(usual)) {
    const given =
      typeof otherwise === "boolean" ? flagOption(g, name, otherwise) : numberOption(g, name, "number", otherwise);
    if (given === undefined) return ERROR;
    options[name] = given;
  }
  return withNodes(g, operands.length, (nodes) => {
    const make = (axes: readonly Axis[]): Value => addNode(g.env, op, nodes, attrs(axes, options), g.span);
    if (brackets === "nothing") return make([]);
    return brackets === "axes" ? withAxes(g, make) : withAxis(g, (axis) => make([axis]));
  });
}

/** `normal(std: 0.02, seed: 1)`; the width may also come first, without its name. */
function random(
  g: Given,
  name: string,
  usual: number,
  init: (width: number, seed: number | null) => Extract<Value, { kind: "init" }>["init"],
): Value {
  const first = numberAt(g, 0, `\`${name}\``, "notNegative", usual);
  const width = first === undefined ? undefined : numberOption(g, name, "notNegative", first);
  const seed = numberOption(g, "seed", "seed", null);
  return width === undefined || seed === undefined ? ERROR : { kind: "init", init: init(width, seed) };
}

/** `concat[A*B -> C](x, y)`: each operand has an axis of its own, or all have the first. */
function concat(g: Given, xs: readonly Node[], from: readonly Axis[], to: readonly Axis[]): Value {
  const axis = from[0]?.name ?? "";
  const parts: Node[] = [];
  for (const [i, x] of xs.entries()) {
    const own = from[i]?.name ?? axis;
    const part: Value =
      own === axis ? { kind: "tensor", node: x } : addNode(g.env, "rename", [x], { from: own, to: axis }, g.span);
    if (part.kind !== "tensor") return part;
    parts.push(part.node);
  }
  return addNode(g.env, "concat", parts, { axis, to: to[0] ?? from[0]! }, g.span);
}

function sum(g: Given): Value {
  const [only] = g.positional;
  if (only?.value.kind !== "routed") return reduce(g, "sum");
  const routed = only.value;
  return withAxes(g, (axes) => sumRouted(g.env, routed, axes, g.span));
}

function topk(g: Given): Value {
  return withNodes(g, 1, ([x]) =>
    withArrow(g, (from, to) => {
      const [axis, k] = [from[0], to[0]];
      if (axis === undefined || k === undefined) return ERROR;
      const values = addNode(g.env, "topk", [x!], { axis: axis.name, k, part: "values" }, g.span);
      if (values.kind !== "tensor") return ERROR;
      const indices = addNode(g.env, "topk", [x!], { axis: axis.name, k, part: "indices" }, g.span);
      return indices.kind === "tensor" ? { kind: "tuple", items: [values, indices] } : ERROR;
    }),
  );
}

/** Of every element how many along the axis come before it: the place that `topk` would give it. */
function ranks(g: Given): Value {
  return withNodes(g, 1, ([x]) =>
    withAxis(g, (axis) => {
      const k = { name: `${axis.name}'`, size: axis.size, origin: axis.origin };
      return addNode(g.env, "topk", [x!], { axis: axis.name, k, part: "ranks" }, g.span);
    }),
  );
}

function select(g: Given): Value {
  const [, a, b] = g.positional.map((p) => p.value);
  const like = [a, b].find((v) => v?.kind === "tensor");
  const nodes = g.positional.map((p, i) =>
    toNode(g.env, p.value, i > 0 && like?.kind === "tensor" ? like.node : null, p.span),
  );
  if (nodes.length !== 3)
    return report(
      g.env,
      "type/missing-argument",
      "`select` needs a condition and two values",
      g.span,
      `${nodes.length} given`,
    );
  return nodes.includes(null) ? ERROR : addNode(g.env, "select", nodes as Node[], {}, g.span);
}

/** A list of numbers that is known when the model is compiled, as a tensor along an axis. */
function listAlong(g: Given, axis: Axis): Value {
  const list = g.positional[0]?.value;
  const values =
    list?.kind === "list"
      ? list.items.flatMap((x) => (x.kind === "number" || x.kind === "axis" ? [toNumber(x)] : []))
      : null;
  const large = values?.find((x) => Math.abs(x) > LIMITS.f32);
  if (large !== undefined)
    return report(
      g.env,
      "type/constant",
      `${large} is not a value of f32`,
      g.span,
      "in this list",
      `f32 holds up to ${LIMITS.f32.toPrecision(8)}`,
    );
  if (list?.kind === "list" && values?.length === list.items.length)
    return addNode(g.env, "values", [], { axis, values }, g.span);
  return report(
    g.env,
    "type/bad-operand",
    "`values` takes a list of numbers",
    g.span,
    list === undefined
      ? "nothing given"
      : list.kind === "list"
        ? "not all of these are numbers"
        : `this is ${describeValue(list)}`,
    "write `values[D]([0.5, 1, 2])`",
  );
}

function merge(g: Given, x: Node): Value {
  const [item] = g.brackets;
  if (item?.kind !== "arrow" || item.to.kind !== "name")
    return report(
      g.env,
      "type/axis-count",
      "`merge` takes `A*B -> C` in brackets",
      g.span,
      "not given",
      "write `merge[G*C -> D](x)`",
    );
  const from = resolveAxes(g.env, item.from);
  if (from === null) return ERROR;
  const known = lookupName(g.env, withoutPrimes(item.to.name.text)) === null ? null : resolveAxis(g.env, item.to);
  const to = known ?? { name: item.to.name.text, size: Dim.product(from.map((a) => a.size)), origin: item.span };
  return addNode(g.env, "merge", [x], { axes: from.map((a) => a.label ?? ""), to }, g.span);
}
