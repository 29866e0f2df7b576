/**
 * Reductions. Beside axes, `loss`, `metric` and `update` may reduce over sequences, which no type names: `mean[batch, T](x)` is over
 * the tokens of a micro-batch, `mean[global, T](x)` over those of an optimizer step. A program is written for one sequence, so what
 * it says is reduced is `pool`ed; the batched program has the sums.
 */
import type { Expr } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Attrs, Pool } from "../../graph/attrs.ts";
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { hasAxis, TIME } from "../../graph/type.ts";
import { pools } from "../../ops/pool.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { lookupName, report } from "./context.ts";
import type { Given } from "./given.ts";
import { labels, withAxes, withNodes } from "./given.ts";
import type { Value } from "./value.ts";
import { ERROR } from "./value.ts";
import { onlyKept } from "./within.ts";

/** `sum[A, ...](x)` and the like. */
export function reduce(g: Given, op: "sum" | "reduce_max" | "reduce_min"): Value {
  return withNodes(g, 1, ([x]) => withPool(g, (axes, scope) => reducePooled(g, op, x!, axes, scope)));
}

/** Sum over count; the count of a run-time axis, and of sequences, is itself a sum. */
export function mean(g: Given): Value {
  return withNodes(g, 1, ([x]) =>
    withPool(g, (axes, scope) => {
      const total = reducePooled(g, "sum", x!, axes, scope);
      if (total.kind !== "tensor") return ERROR;
      const count = Dim.product(axes.map((a) => a.size));
      const b = g.env.ctx.builder;
      const one = b.must("constant", [], { value: count.value ?? 1, dtype: "f32" }, g.span);
      const ones = (): Node => onlyThere(g, b.must("broadcast", [one], { axes }, g.span), axes, 0);
      const own = count.value !== null ? one : b.must("sum", [ones()], { axes: labels(axes) }, g.span);
      const pooled = scope === null ? own : poolNode(g.env, own, scope, "sum", g.span);
      // None of a sequence's tokens may be there.
      const divisor = leavesOut(g, axes) ? b.max(pooled, 1) : pooled;
      return addNode(g.env, "div", [total.node, divisor], {}, g.span);
    }),
  );
}

const FILL = { sum: 0, reduce_max: pools.max.initial, reduce_min: pools.min.initial } as const;

function reducePooled(g: Given, op: keyof typeof FILL, x: Node, axes: readonly Axis[], scope: Pool | null): Value {
  const env = leavesOut(g, axes) ? { ...g.env, kept: null } : g.env;
  const there = onlyThere(g, x, axes, FILL[op]);
  const own: Value =
    axes.length === 0 ? { kind: "tensor", node: x } : addNode(env, op, [there], { axes: labels(axes) }, g.span);
  if (scope === null || own.kind !== "tensor") return own;
  if (own.node.type.dtype !== "f32") return addNode(g.env, "pool", [own.node], poolAttrs(scope, "sum", null), g.span);
  const kind = op === "sum" ? "sum" : op === "reduce_max" ? "max" : "min";
  return { kind: "tensor", node: poolNode(g.env, own.node, scope, kind, g.span) };
}

/** Inside of `within`, losses and the like are about the tokens that are there; a result must not mix tokens at all. */
function leavesOut({ env }: Given, axes: readonly Axis[]): boolean {
  return env.pools && env.kept != null && axes.some((a) => a.name === TIME);
}

function onlyThere(g: Given, x: Node, axes: readonly Axis[], otherwise: number): Node {
  return leavesOut(g, axes) && x.type.dtype === "f32" && hasAxis(x.type, TIME) ? onlyKept(g.env, x, otherwise) : x;
}

/** The axes in brackets, and the widest of the sequences named beside them. */
function withPool(g: Given, then: (axes: readonly Axis[], scope: Pool | null) => Value): Value {
  const pools = g.brackets.flatMap((item) => poolOf(g.env, item) ?? []);
  const [first, second] = pools;
  if (first === undefined) return withAxes(g, (axes) => then(axes, null));
  if (!g.env.pools) return reportOutside(g.env, first.scope, first.span);
  if (second !== undefined)
    return report(
      g.env,
      "shape/duplicate-axis",
      "`global` is over all sequences of a step, those of the micro-batch included",
      second.span,
      "named beside the other",
      "keep one of `batch` and `global`",
    );
  const brackets = g.brackets.filter((item) => poolOf(g.env, item) === null);
  return brackets.length === 0
    ? then([], first.scope)
    : withAxes({ ...g, brackets }, (axes) => then(axes, first.scope));
}

function poolOf(env: Env, item: Expr): { readonly scope: Pool; readonly span: Span } | null {
  const value = item.kind === "name" ? lookupName(env, item.name.text) : null;
  return value?.kind === "pool" ? { scope: value.scope, span: item.span } : null;
}

/** Something that only losses, metrics and updates may look at. */
export function reportOutside(env: Env, name: string, span: Span): Value {
  const call = env.calls.findLast((c) => c.layer === undefined && c.span.file === span.file);
  return report(
    env,
    "type/pool-outside",
    `\`${name}\` can be reduced over only inside of \`loss\`, \`metric\` and \`update\``,
    span,
    "a result must not depend on it",
    "write the reduction in the `loss`, or in a function that it calls",
    call === undefined ? [] : [{ span: call.span, text: `\`${call.name}\` is called here, outside of them` }],
  );
}

/** What is pooled over a step has a buffer, which its function gives back as an output. The same is pooled once. */
function poolNode(env: Env, x: Node, scope: Pool, reduce: Attrs["pool"]["reduce"], span: Span): Node {
  const b = env.ctx.builder;
  if (scope === "batch") return b.must("pool", [x], poolAttrs(scope, reduce, null), span);
  const buffers = (env.sink ?? []).filter((output) => output.role === "accumulator");
  const known = buffers.find(({ node }) => isOp(node, "pool") && node.inputs[0] === x && node.attrs.reduce === reduce);
  if (known !== undefined) return known.node;
  const buffer = `global.${buffers.length}`;
  const node = b.must("pool", [x], poolAttrs(scope, reduce, buffer), span);
  env.sink?.push({ name: buffer, role: "accumulator", node });
  return node;
}

const poolAttrs = (scope: Pool, reduce: Attrs["pool"]["reduce"], buffer: string | null): Attrs["pool"] => ({
  scope,
  reduce,
  buffer,
});
