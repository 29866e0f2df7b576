/**
 * `update bias = ...`: what a state of the layer is after an optimizer step. It is an output beside the results, `after.` and the
 * state's path, that nobody computes unless asked. One value holds for all sequences of the step, so what depends on a token has to
 * be reduced over `global`.
 */
import type { Statement } from "../../../grammar/ast.ts";
import type { Node, Output } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { insideTemplate, nameOfUpdate, stateOfUpdate } from "../../graph/path.ts";
import { toNode } from "./arithmetic.ts";
import type { Env } from "./context.ts";
import { evaluate, report } from "./context.ts";
import type { ParameterInfo } from "./value.ts";

export function runUpdate(env: Env, statement: Extract<Statement, { kind: "update" }>): void {
  const { name } = statement;
  const state = stateOf(env, statement);
  const value = evaluate({ ...env, pools: true }, statement.value);
  const node = value.kind === "error" || state === null ? null : toNode(env, value, null, statement.value.span);
  if (state === null || node === null || env.sink === null) return;
  const path = nameOfUpdate(insideTemplate(state.path));
  if (env.sink.some((output) => output.name === path)) {
    report(
      env,
      "name/duplicate",
      `\`${name.text}\` is updated twice`,
      statement.span,
      "updated again here",
      "write one `update` with both changes",
    );
    return;
  }
  // What an optimizer remembers is of one tensor, and steps as that does.
  const isStepped = env.instance?.decl.keyword === "optimizer";
  if (fits(env, state, node, statement) && (isStepped || isShared(env, node, statement))) {
    const order = state.axes.map((a) => a.name);
    env.sink.push({ name: path, role: "update", node: env.ctx.builder.transpose(node, order) });
  }
}

/** An output of a layer of a stack, as the function around knows it: `after.` stays in front. */
export function nameOutside(path: string, { name, role }: Output): string {
  // A part of an inner stack begins with the template that it is in, which `path` says with its number.
  if (role === "update") return nameOfUpdate(`${path}.${insideTemplate(stateOfUpdate(name))}`);
  return `${path}.${insideTemplate(name)}`;
}

function stateOf(env: Env, { name }: Extract<Statement, { kind: "update" }>): ParameterInfo | null {
  const member = env.instance?.members.get(name.text);
  if (member?.kind === "parameter" && member.parameter.state) return member.parameter;
  if (member?.kind === "absent") evaluate(env, { kind: "name", name, span: name.span });
  else
    report(
      env,
      "type/not-a-state",
      `\`${name.text}\` is no state of this layer, so it cannot be updated`,
      name.span,
      member?.kind === "parameter" ? "a parameter: gradients change it" : "not a state",
      `declare it as a member: \`${name.text} = state[...](zeros)\``,
    );
  return null;
}

function fits(env: Env, state: ParameterInfo, node: Node, { name, value }: Extract<Statement, { kind: "update" }>) {
  const { dtype, axes } = node.type;
  const same =
    axes.length === state.axes.length &&
    state.axes.every((a) => axes.some((b) => b.name === a.name && b.size.equals(a.size)));
  if (same && dtype === "f32") return true;
  const text = (list: readonly { readonly name: string }[]): string => `[${list.map((a) => a.name).join(", ")}]`;
  report(
    env,
    "shape/update",
    `\`${name.text}\` is f32${text(state.axes)} and is updated with ${dtype}${text(axes)}`,
    value.span,
    `this is ${dtype}${text(axes)}`,
    "reduce over the axes that the state does not have",
    [{ span: state.span, text: "the state" }],
  );
  return false;
}

/** Whether a value is one for all sequences: everything that depends on a token went through `global`. */
function isShared(env: Env, node: Node, { name, value }: Extract<Statement, { kind: "update" }>): boolean {
  const seen = new Set<Node>();
  const varies = (n: Node): boolean => {
    if (seen.has(n) || (isOp(n, "pool") && n.attrs.scope === "global")) return false;
    seen.add(n);
    return isOp(n, "input") || n.inputs.some(varies);
  };
  if (!varies(node)) return true;
  report(
    env,
    "type/update-scope",
    `the update of \`${name.text}\` depends on single tokens, sequences or micro-batches`,
    value.span,
    "a state has one value for all of them",
    "reduce over the whole step, such as `sum[global, T](x)`",
  );
  return false;
}
