/** Members `param[...](init)` and `state[...](init)`: what a layer stores, over which axes, and how it starts. */
import type { Expr, Member } from "../../../grammar/ast.ts";
import type { Axis } from "../../graph/type.ts";
import { resolveAxes, toAxis } from "./axes.ts";
import { areStorable, isPossible } from "./bounds.ts";
import type { Env } from "./context.ts";
import { evaluate, report } from "./context.ts";
import type { Init, Instance, InstanceMember } from "./value.ts";
import { describeValue } from "./value.ts";

/** `param[O, I'](normal(std: 0.02))`, `state[N](zeros)`; undefined when the member is neither. */
export function parameterOf(
  env: Env,
  owner: Instance,
  member: Member,
  path: string,
): InstanceMember | null | undefined {
  const call = member.value.kind === "call" ? member.value : null;
  const bracket = call === null ? member.value : call.callee;
  const head = bracket.kind === "bracket" ? bracket.object : bracket;
  const word = head.kind === "name" ? head.name.text : "";
  if (!(word === "param" || word === "state") || owner.scope.lookup(word) !== null) return undefined;
  const state = word === "state";
  const items = bracket.kind === "bracket" ? bracket.items : [];
  const axes: Axis[] = [...owner.banks];
  for (const item of items) {
    const resolved = resolveAxes(env, item);
    if (resolved === null) return null;
    for (const value of resolved) {
      const axis = toAxis(value, "axis");
      if (axes.some((a) => a.name === axis.name)) {
        report(
          env,
          "shape/duplicate-axis",
          `the parameter has axis \`${axis.name}\` twice`,
          item.span,
          "again here",
          `write \`${axis.name}'\` for a second axis of the same size`,
        );
        return null;
      }
      if (!isPossible(env, axis, `\`${path}\``, item.span)) return null;
      axes.push({ ...axis, origin: axis.origin ?? item.span });
    }
  }
  if (!areStorable(env, axes, `\`${path}\``, bracket.span)) return null;
  const init = initOf(env, call?.args[0]?.value ?? null, state);
  return init === null ? null : { kind: "parameter", parameter: { path, axes, init, state, span: member.span } };
}

function initOf(env: Env, expr: Expr | null, state: boolean): Init | null {
  if (expr === null) return state ? { kind: "zeros" } : { kind: "normal", std: 0.02, seed: null };
  const value = evaluate(env, expr);
  if (value.kind === "init") return value.init;
  if (value.kind !== "error")
    report(
      env,
      "type/not-an-init",
      "a parameter starts from an initialiser",
      expr.span,
      `this is ${describeValue(value)}`,
      "write `zeros`, `ones`, `constant(x)`, `normal(std: s)` or `uniform(bound: b)`",
    );
  return null;
}
