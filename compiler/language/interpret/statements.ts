/** Runs the statements of a body: names, losses, metrics and updates, conditions, and the `for` over a stack of layers. */
import type { Body, Name, Statement } from "../../../grammar/ast.ts";
import { insideTemplate } from "../../graph/path.ts";
import { TIME } from "../../graph/type.ts";
import { toNode } from "./arithmetic.ts";
import type { Env, Sink } from "./context.ts";
import { countOf, evaluate, report, STACKED } from "./context.ts";
import { runUpdate } from "./update.ts";
import type { Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

/** Runs statements; the value of the first `return`, or null when there is none. */
export function runBody(env: Env, body: Body): readonly Value[] | null {
  return runStatements(env, body.statements);
}

function runStatements(env: Env, statements: readonly Statement[]): readonly Value[] | null {
  for (const statement of statements) {
    const returned = runStatement(env, statement);
    if (returned !== null) return returned;
  }
  return null;
}

function runStatement(env: Env, statement: Statement): readonly Value[] | null {
  switch (statement.kind) {
    case "return":
      return statement.values.map((v) => evaluate(env, v));
    case "let": {
      const value = evaluate(env, statement.value);
      const items = statement.names.length === 1 ? [value] : value.kind === "tuple" ? value.items : null;
      if (items === null || items.length !== statement.names.length) {
        if (value.kind !== "error")
          report(
            env,
            "type/result-count",
            `${statement.names.length} names for ${describeValue(value)}`,
            statement.span,
            "names and results differ in number",
            value.kind === "tuple"
              ? `write ${countOf(value.items.length, "name")} before \`=\``
              : "write one name before `=`",
          );
        for (const name of statement.names) env.locals.set(name.text, ERROR);
        return null;
      }
      return statement.names.every((name, i) => setLocal(env, name, items[i]!)) ? null : [ERROR];
    }
    case "loss":
    case "metric": {
      const value = evaluate({ ...env, pools: true }, statement.value);
      const node = value.kind === "error" ? null : toNode(env, value, null, statement.span);
      if (node === null || env.sink === null) return null;
      if (statement.kind === "loss" && node.type.axes.length > 0) {
        report(
          env,
          "type/loss-not-scalar",
          "a loss is one number",
          statement.span,
          `this still has axes [${node.type.axes.map((a) => a.name).join(", ")}]`,
          "reduce it with `mean[...]` or `sum[...]`",
        );
        return null;
      }
      const stated = env.sink.filter((output) => output.role === "loss");
      env.sink.push({
        name: statement.kind === "loss" ? `loss${stated.length}` : freeName(env, env.sink, statement.name.text),
        role: statement.kind,
        node,
      });
      return null;
    }
    case "update":
      runUpdate(env, statement);
      return null;
    case "if": {
      const condition = evaluate(env, statement.condition);
      if (condition.kind === "error") return null;
      if (condition.kind !== "bool") {
        report(
          env,
          "type/not-a-condition",
          "a condition must be known when the model is compiled",
          statement.condition.span,
          `this is ${describeValue(condition)}`,
          "use `select(condition, a, b)` to choose element by element",
        );
        return null;
      }
      return runStatements(env, condition.value ? statement.then : statement.else);
    }
    case "for":
      return runFor(env, statement);
  }
}

/** Two parts of a layer may have metrics of one name: those of the later parts have their path before it. */
function freeName(env: Env, sink: Sink, name: string): string {
  const path = insideTemplate(env.instance?.path ?? "");
  return path !== "" && sink.some((output) => output.name === name) ? `${path}.${name}` : name;
}

/** A name that stands for an axis goes on doing so in the whole body: types and brackets read it. */
function setLocal(env: Env, name: Name, value: Value): boolean {
  const known = env.locals.get(name.text);
  if (name.text === TIME || (known?.kind === "axis" && known.label !== null)) {
    report(
      env,
      "name/taken",
      `\`${name.text}\` is an axis here and cannot name a value`,
      name.span,
      "named again here",
      "choose another name",
      known?.kind === "axis" && known.origin !== null ? [{ span: known.origin, text: "the axis comes from here" }] : [],
    );
    return false;
  }
  env.locals.set(name.text, value);
  return true;
}

function runFor(env: Env, statement: Extract<Statement, { kind: "for" }>): readonly Value[] | null {
  const member = statement.over.kind === "name" ? env.instance?.members.get(statement.over.name.text) : undefined;
  if (member?.kind !== "stack") {
    report(
      env,
      "type/not-iterable",
      "`for` runs over a member `L of Layer`",
      statement.over.span,
      "not layers",
      "declare `blocks = L of Block(...)`",
    );
    return null;
  }
  for (const [i, template] of member.layers.entries()) {
    env.ctx.observer?.value(env, statement.over, { kind: "layer", instance: template });
    env.locals.set(STACKED + template.path, { kind: "number", value: i, float: false });
    env.locals.set(statement.variable.text, { kind: "layer", instance: template });
    const returned = runStatements(env, statement.body);
    if (returned !== null) return returned;
  }
  for (const template of member.layers) env.locals.delete(STACKED + template.path);
  return null;
}
