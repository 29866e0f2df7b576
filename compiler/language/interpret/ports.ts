/** Binds the arguments of a function or layer to its declared ports, by position or by name. */
import type { Arg, Port } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import { type Axis } from "../../graph/type.ts";
import { toNode } from "./arithmetic.ts";
import { matchPort } from "./axes.ts";
import type { Env } from "./context.ts";
import { countOf, evaluate, report } from "./context.ts";
import type { Value } from "./value.ts";
import { describeValue } from "./value.ts";
import { denseType } from "./results.ts";

/** Binds arguments to ports; returns the renamings to undo on results, or null after reporting. */
export function bindPorts(
  env: Env,
  inner: Env,
  ports: readonly Port[],
  args: readonly Arg[],
  span: Span,
  what: string,
  banks: readonly Axis[],
  made: Span | null,
): Map<string, string> | null {
  const back = new Map<string, string>();
  const bound = new Set<string>();
  let position = 0;
  let failed = false;
  for (const arg of args) {
    const port = arg.name === null ? ports[position++] : ports.find((p) => p.name.text === arg.name!.text);
    if (port === undefined) {
      if (arg.name === null)
        report(
          env,
          "type/too-many-arguments",
          `${what} takes ${countOf(ports.length, "argument")}`,
          arg.span,
          "one too many",
          ports.length === 0 ? null : `it takes ${ports.map((p) => p.name.text).join(", ")}`,
          made === null ? [] : [{ span: made, text: "made here" }],
        );
      else
        report(
          env,
          "name/no-parameter",
          `${what} has no argument \`${arg.name.text}\``,
          arg.span,
          "not an argument",
          `it takes ${ports.map((p) => p.name.text).join(", ")}`,
        );
      return null;
    }
    if (arg.name !== null) env.ctx.observer?.name(arg.name, port.name);
    bound.add(port.name.text);
    const value = evaluate(env, arg.value);
    if (value.kind === "error") failed = true;
    else if (!bindPort(env, inner, port, value, arg.span, what, banks, back, made)) failed = true;
  }
  if (failed) return null;
  for (const port of ports) {
    if (bound.has(port.name.text)) continue;
    if (port.default === null) {
      report(
        env,
        "type/missing-argument",
        `${what} needs an argument \`${port.name.text}\``,
        span,
        "missing here",
        null,
        [{ span: port.span, text: "declared here" }],
      );
      return null;
    }
    inner.locals.set(port.name.text, evaluate(inner, port.default));
  }
  return back;
}

function bindPort(
  env: Env,
  inner: Env,
  port: Port,
  value: Value,
  span: Span,
  what: string,
  banks: readonly Axis[],
  back: Map<string, string>,
  made: Span | null,
): boolean {
  if (port.type === null || port.type.kind === "named-type") {
    inner.locals.set(port.name.text, value);
    return true;
  }
  if (port.type.kind === "route-type" && port.type.form === "sparse") {
    if (value.kind !== "route") {
      report(
        env,
        "type/bad-route",
        `${what}'s \`${port.name.text}\` is a sparse route, not ${describeValue(value)}`,
        span,
        `this is ${describeValue(value)}`,
        "give it what a router returns",
        [{ span: port.type.span, text: "declared here" }],
      );
      return false;
    }
    inner.locals.set(port.name.text, value);
    return true;
  }
  const node = toNode(env, value, null, span);
  if (node === null) return false;
  if (port.type.kind === "route-type")
    return bindPort(env, inner, { ...port, type: denseType(port.type) }, value, span, what, banks, back, made);
  const match = matchPort(inner, port.type, node, span, `${what}'s \`${port.name.text}\``, banks, made);
  if (match === null) return false;
  const dtype = port.type.dtype?.text;
  if (dtype !== undefined && dtype !== match.node.type.dtype) {
    report(
      env,
      "type/dtype-mismatch",
      `${what}'s \`${port.name.text}\` is ${dtype}, but this is ${match.node.type.dtype}`,
      span,
      `this is ${match.node.type.dtype}`,
      `cast it with \`${dtype}(...)\``,
    );
    return false;
  }
  for (const [inside, outside] of match.back) back.set(inside, outside);
  inner.locals.set(port.name.text, { kind: "tensor", node: match.node });
  return true;
}
