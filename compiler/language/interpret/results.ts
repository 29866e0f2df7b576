/** Results against the types that a body declares, with their axes renamed to the caller's. */
import type { RouteType, TensorType, Type } from "../../../grammar/ast.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import type { Node } from "../../graph/node.ts";
import { TIME } from "../../graph/type.ts";
import { toNode } from "./arithmetic.ts";
import { declaredAxes, resolveAxis, toSize } from "./axes.ts";
import type { Env } from "./context.ts";
import { countOf, evaluate, report } from "./context.ts";
import type { Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

/** Checks results against the declared types and renames their axes back to the caller's. */
export function finish(
  env: Env,
  inner: Env,
  values: readonly Value[] | null,
  types: readonly Type[],
  back: ReadonlyMap<string, string>,
  span: Span,
  name: string,
): Value {
  if (values === null)
    return env.ctx.bag.hasErrors
      ? ERROR
      : report(
          env,
          "type/no-result",
          `\`${name}\` returns nothing`,
          span,
          "a value is needed",
          "end its body with `return`",
        );
  const [only] = values;
  const flat = values.length === 1 && only!.kind === "tuple" ? only!.items : values;
  if (flat.some((v) => v.kind === "error")) return ERROR;
  if (types.length > 0 && flat.length !== types.length)
    return report(
      env,
      "type/result-count",
      `\`${name}\` declares ${countOf(types.length, "result")} and returns ${flat.length}`,
      span,
      "called here",
    );
  const results = flat.map((value, i) =>
    types[i] === undefined ? value : checkResult(inner, value, types[i]!, back, name),
  );
  if (results.some((v) => v.kind === "error")) return ERROR;
  return results.length === 1 ? results[0]! : { kind: "tuple", items: results };
}

function checkResult(inner: Env, value: Value, type: Type, back: ReadonlyMap<string, string>, name: string): Value {
  if (type.kind === "named-type") return value;
  if (type.kind === "route-type") return checkRoute(inner, value, type, back, name);
  const node = toNode(inner, value, null, type.span);
  if (node === null) return ERROR;
  const declared = declaredAxes(inner, type);
  if (declared === null) return ERROR;
  const wanted = new Set(declared.axes.map((a) => a.name));
  for (const axis of declared.axes) {
    // A size without a label, such as `4 * D`, takes the next axis of that size.
    const unnamed = declared.unnamed.has(axis.name)
      ? node.type.axes.find((a) => !wanted.has(a.name) && a.size.equals(axis.size))
      : undefined;
    if (unnamed !== undefined) wanted.add(unnamed.name);
    const actual = unnamed ?? node.type.axes.find((a) => a.name === axis.name);
    if (actual === undefined) {
      return report(
        inner,
        "shape/missing-axis",
        `\`${name}\` declares ${declared.unnamed.has(axis.name) ? `an axis of ${axis.size.key}` : `axis \`${axis.name}\``}, which its result does not have`,
        type.span,
        `declared here; the result has [${node.type.axes.map((a) => a.name).join(", ")}]`,
        null,
        node.origin === null ? [] : [{ span: node.origin, text: "the result" }],
      );
    }
    if (!actual.size.equals(axis.size)) {
      return report(
        inner,
        "shape/axis-mismatch",
        `\`${name}\` declares axis \`${axis.name}\` of ${axis.size.key}, and its result has ${actual.size.key}`,
        type.span,
        `${axis.size.key} declared here`,
        null,
        actual.origin === null ? [] : [{ span: actual.origin, text: `${actual.size.key} comes from here` }],
      );
    }
  }
  const extra = node.type.axes.find(
    (a) => !wanted.has(a.name) && !declared.rest && !(inner.instance?.banks ?? []).some((b) => b.name === a.name),
  );
  if (extra !== undefined) {
    return report(
      inner,
      "shape/extra-axis",
      `the result of \`${name}\` has an axis \`${extra.name}\` that is not declared`,
      type.span,
      "declared here",
      `reduce it, or add \`${extra.name}\` to the type`,
      node.origin === null
        ? []
        : [{ span: node.origin, text: `the result has [${node.type.axes.map((a) => a.name).join(", ")}]` }],
    );
  }
  if (type.dtype !== null && type.dtype.text !== node.type.dtype) {
    return report(
      inner,
      "type/dtype-mismatch",
      `\`${name}\` declares ${type.dtype.text} and returns ${node.type.dtype}`,
      type.span,
      "declared here",
      `cast the result with \`${type.dtype.text}(...)\``,
    );
  }
  return { kind: "tensor", node: renameBack(inner, node, back) };
}

function renameBack(env: Env, node: Node, back: ReadonlyMap<string, string>): Node {
  let current = node;
  for (const axis of node.type.axes) {
    const outside = back.get(axis.name);
    if (outside !== undefined && outside !== axis.name && !current.type.axes.some((a) => a.name === outside)) {
      current = env.ctx.builder.must("rename", [current], { from: axis.name, to: outside }, node.origin);
    }
  }
  return current;
}

/** `dense[T, N]` is a tensor over both. */
export function denseType(type: RouteType): TensorType {
  return {
    kind: "tensor-type",
    dtype: null,
    axes: type.axes.map(({ axis }) => ({ kind: "axis", label: null, size: axis, span: axis.span })),
    span: type.span,
  };
}

/**
 * `sparse[T, K of N]` wants a route whose choices are K and banks N, `sparse[Z of T, N]` one that chooses tokens, `sparse[T, N]` any
 * over the two; `dense[T, N]` a tensor over both.
 */
function checkRoute(inner: Env, value: Value, type: RouteType, back: ReadonlyMap<string, string>, name: string): Value {
  if (value.kind === "error") return value;
  if (type.form === "dense")
    return value.kind === "route"
      ? report(
          inner,
          "type/bad-route",
          `\`${name}\` declares a dense route and returns a sparse one`,
          type.span,
          "declared here",
          "declare `sparse[T, K of N]`",
        )
      : checkResult(inner, value, denseType(type), back, name);
  if (value.kind !== "route") {
    const origin = value.kind === "tensor" ? value.node.origin : null;
    return report(
      inner,
      "type/bad-route",
      `\`${name}\` declares a sparse route and returns ${describeValue(value)}`,
      type.span,
      "declared here",
      "end with `return route[N](index, weight)`",
      origin === null ? [] : [{ span: origin, text: "this is returned" }],
    );
  }
  const declared = type.axes.find((a) => a.of !== null);
  const bank = declared === undefined ? null : resolveAxis(inner, declared.of!);
  const choices = declared === undefined ? null : toSize(evaluate(inner, declared.axis));
  if (bank !== null && bank.name !== value.bank.name)
    return report(
      inner,
      "type/bad-route",
      `\`${name}\` declares a choice among \`${bank.name}\` and returns one among \`${value.bank.name}\``,
      type.span,
      "declared here",
      `write \`return route[${textOf(declared!.axis.span)} of ${bank.name}](index, weight)\``,
    );
  if (choices !== null && !choices.size.equals(value.choice.size)) {
    return report(
      inner,
      "shape/axis-mismatch",
      `\`${name}\` declares ${choices.size.key} choices per token and returns ${value.choice.size.key}`,
      type.span,
      "declared here",
    );
  }
  const chosen = value.bank.name === TIME ? value.index.type.axes.filter((a) => a.name !== value.choice.name) : [];
  const extra = chosen.find(
    (a) => !type.axes.some((d) => d.of === null && resolveAxis(inner, d.axis)?.name === a.name),
  );
  if (extra !== undefined)
    return report(
      inner,
      "shape/extra-axis",
      `\`${name}\` chooses tokens for each of \`${extra.name}\`, which its type does not name`,
      type.span,
      "declared here",
      `write \`sparse[${value.choice.name} of T, ${chosen.map((a) => a.name).join(", ")}]\``,
    );
  if (value.bank.name !== TIME && !value.index.type.axes.some((a) => a.name === TIME))
    return report(
      inner,
      "type/bad-route",
      `the route of \`${name}\` is the same for every token`,
      type.span,
      "declared per token here",
    );
  return value;
}
