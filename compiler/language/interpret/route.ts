/**
 * Routes: who chose what, with which weights. A route over experts (`K of N`) is applied by taking the chosen experts' results
 * for each token and adding them up. A route over tokens (`Z of T`) takes the chosen tokens for each expert and adds the results
 * back at the tokens' places. Both are a `take`, which the compiler pushes inwards, so that nothing else is computed.
 */
import type { BinaryExpr, Expr } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import { resolveAxis } from "./axes.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { report } from "./context.ts";
import type { RoutedValue, RouteValue, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

/** `route[N](index, weight)`, with choices along the last axis beside time; or `route[Z of T](index, weight)`, which names them. */
export function makeRoute(env: Env, item: Expr, index: Node, weight: Node, span: Span): Value {
  const bank = resolveAxis(env, item.kind === "of" ? item.value : item);
  const choices = item.kind === "of" && item.count.kind === "name" ? resolveAxis(env, item.count) : null;
  if (bank === null || (item.kind === "of" && choices === null)) return ERROR;
  const choice = index.type.axes.findLast((a) => a.name === (choices?.name ?? a.name) && a.name !== TIME);
  if (index.type.dtype !== "u32" || choice === undefined) {
    return report(
      env,
      "type/bad-route",
      "a route is made of chosen indices u32 [T, K] and their weights [T, K]",
      span,
      `the first argument is ${index.type.dtype}[${index.type.axes.map((a) => a.name).join(", ")}]`,
      "take both from `topk[N -> K](...)`",
    );
  }
  if (!hasAxis(weight.type, choice.name)) {
    return report(
      env,
      "shape/missing-axis",
      `the weights need the choice axis \`${choice.name}\` of the indices`,
      span,
      `the second argument has [${weight.type.axes.map((a) => a.name).join(", ")}]`,
    );
  }
  const arranged = (x: Node): Node => env.ctx.builder.transpose(x, choicesLast(x, choice));
  return { kind: "route", bank, choice, index: arranged(index), weight: arranged(weight) };
}

/** Time before choices, whatever the order in which they were computed: kernels and readers find [T, K]. */
function choicesLast(x: Node, choice: Axis): readonly string[] {
  const rank = (name: string): number => [TIME, choice.name].indexOf(name);
  return x.type.axes.map((a) => a.name).sort((a, b) => rank(a) - rank(b));
}

function countAlong(b: Builder, axis: Axis): Node {
  const { value } = axis.size;
  if (value !== null) return b.constant(value, "u32");
  return b.sum(b.broadcast(b.constant(1, "u32"), [axis]), [axis.name]);
}

/** Of indices that a selection along time gave, the ranks of all tokens. */
function ranksBehind(env: Env, index: Node): Node | null {
  if (isOp(index, "transpose")) return ranksBehind(env, index.inputs[0]!);
  if (!isOp(index, "topk") || index.attrs.axis !== TIME) return null;
  return env.ctx.builder.must("topk", index.inputs, { ...index.attrs, part: "ranks" }, index.origin);
}

/** `route * x` with x over the route's bank axis: x at the chosen places, times the weights. */
export function applyRoute(env: Env, expr: BinaryExpr, left: Value, right: Value): Value {
  const route = (left.kind === "route" ? left : right) as RouteValue;
  const other = left.kind === "route" ? right : left;
  if (expr.op !== "*" || other.kind !== "tensor") {
    return report(
      env,
      "type/bad-route",
      "a route can only be multiplied with what its experts computed",
      expr.span,
      `${describeValue(left)} ${expr.op} ${describeValue(right)}`,
      "write `sum[N](route * experts(x))`",
    );
  }
  if (!hasAxis(other.node.type, route.bank.name)) {
    return report(
      env,
      "shape/missing-axis",
      `the route chooses among \`${route.bank.name}\`, which the other side does not have`,
      expr.span,
      `axes here: [${other.node.type.axes.map((a) => a.name).join(", ")}]`,
      `multiply with something computed for each of \`${route.bank.name}\`, such as \`N of Expert(...)\``,
    );
  }
  const { bank, choice, index } = route;
  const taken = addNode(env, "take", [other.node, index], { axis: bank.name }, expr.span);
  if (taken.kind !== "tensor") return ERROR;
  const weighted = addNode(env, "mul", [route.weight, taken.node], {}, expr.span);
  return weighted.kind === "tensor" ? { kind: "routed", bank, choice, index, node: weighted.node } : ERROR;
}

/** `sum[N](route * x)`: choices are added up, and results of chosen tokens go back to their tokens. */
export function sumRouted(
  env: Env,
  { bank, choice, index, node }: RoutedValue,
  axes: readonly Axis[],
  span: Span,
): Value {
  const overTime = bank.name === TIME;
  const experts = overTime ? index.type.axes.filter((a) => a.name !== choice.name) : [bank];
  if (axes.length !== experts.length || !experts.every((e) => axes.some((a) => a.name === e.name))) {
    const names = experts.map((a) => a.name).join(", ");
    return report(
      env,
      "type/bad-route",
      `a routed tensor is summed over its banks \`${names}\``,
      span,
      "summed over something else",
      `write \`sum[${names}](route * experts(x))\``,
    );
  }
  if (!overTime) return addNode(env, "sum", [node], { axes: [choice.name] }, span);
  const b = env.ctx.builder;
  const ranks = ranksBehind(env, index);
  if (ranks !== null) {
    // A token was taken where its rank is below the number of choices, and the rank is its choice.
    const choices = countAlong(b, choice);
    const last = b.must("sub", [choices, b.constant(1, "u32")], {}, span);
    const found = b.take(node, b.must("min", [ranks, last], {}, span), choice.name);
    return addNode(env, "sum", [b.select(b.lt(ranks, choices), found, 0)], { axes: experts.map((a) => a.name) }, span);
  }
  // A token is found again by its place along the axis: one-hot rows times results, whose sums have a fixed order.
  const place = b.must("iota", [], { axis: bank }, span);
  const hit = b.cast(b.must("eq", [place, index], {}, span), "f32");
  return addNode(env, "dot", [hit, node], { axes: [choice.name, ...experts.map((a) => a.name)] }, span);
}
