/**
 * `within(kept, body(x))`: a sequence of which only some tokens are there, at their old positions. What looks back then passes over the
 * others: they are no keys, and they leave recurrences as they were. At the others themselves the result means nothing.
 */
import type { CallExpr } from "../../../grammar/ast.ts";
import type { Node } from "../../graph/node.ts";
import { TIME } from "../../graph/type.ts";
import type { Env } from "./context.ts";
import { evaluate, report } from "./context.ts";
import type { Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

export function evaluateWithin(env: Env, expr: CallExpr): Value {
  const [first, second, ...more] = expr.args;
  const kept = first === undefined ? ERROR : evaluate(env, first.value);
  if (kept.kind === "error" && first !== undefined) return ERROR;
  const node = kept.kind === "tensor" ? kept.node : null;
  if (first === undefined || second === undefined || more.length > 0 || node === null || !isMask(node))
    return report(
      env,
      "type/bad-operand",
      "`within` takes which tokens are there, bool [T], and what is computed of them",
      expr.span,
      first === undefined ? "nothing given" : `the first argument is ${describeValue(kept)}`,
      "write `within(score > 0.0, layer(x))`",
    );
  const both = env.kept == null ? node : env.ctx.builder.and(env.kept, node);
  return evaluate({ ...env, kept: both }, second.value);
}

function isMask({ type }: Node): boolean {
  return type.dtype === "bool" && type.axes.length === 1 && type.axes[0]!.name === TIME;
}

/** x, and `otherwise` at tokens that are not there. */
export function onlyKept(env: Env, x: Node, otherwise: number): Node {
  // Ops along time take f32 alone, and say so of anything else.
  return env.kept == null || x.type.dtype !== "f32" ? x : env.ctx.builder.select(env.kept, x, otherwise);
}
