/** Adds nodes: the op's row infers the type, and what does not fit is told with the places that the sizes came from. */
import type { Label } from "../../../grammar/diagnostic.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Attrs, OpName } from "../../graph/attrs.ts";
import type { Node } from "../../graph/node.ts";
import type { Mismatch } from "../../ops/mismatch.ts";
import { timeRule } from "../../ops/time.ts";
import { isPossible } from "./bounds.ts";
import type { Env } from "./context.ts";
import { describeAxis, report } from "./context.ts";
import type { Value } from "./value.ts";
import { ERROR } from "./value.ts";

/** Adds a node, or reports why the op's type rule does not hold, with the places that the sizes came from. */
export function addNode<O extends OpName>(
  env: Env,
  op: O,
  inputs: readonly Node[],
  attrs: Attrs[O],
  span: Span,
): Value {
  const made = env.ctx.builder.add(op, inputs, attrs, span);
  if (!("kind" in made)) {
    const what = `what \`${env.word ?? op}\` gives`;
    if (!made.type.axes.every((axis) => isPossible(env, axis, what, span))) return ERROR;
    if (env.kept != null && timeRule(made) !== "pointwise")
      return report(
        env,
        "time/within",
        `\`${env.word ?? op}\` mixes tokens, and here only some of them are there`,
        span,
        "inside of `within`",
        "attention, running sums, `scan` and `delta_rule` can leave tokens out",
      );
    const inner = env.calls.findLastIndex((call) => call.layer !== undefined);
    const layers = env.calls.filter((call) => call.layer !== undefined);
    if (!env.ctx.sites.has(made)) env.ctx.sites.set(made, { span: env.calls[inner + 1]?.span ?? span, layers });
    return { kind: "tensor", node: made };
  }
  reportMismatch(env, op, made, inputs, span);
  return ERROR;
}

function reportMismatch(env: Env, op: OpName, m: Mismatch, inputs: readonly Node[], span: Span): void {
  const labels: Label[] = [];
  const seen = new Set<string>();
  for (const i of m.inputs) {
    const node = inputs[i];
    const axis = node?.type.axes.find((a) => a.name === m.axis);
    const place = axis?.origin ?? node?.origin;
    if (node === undefined || place == null) continue;
    const names = node.type.axes.map((a) => a.name).join(", ");
    const text =
      axis !== undefined
        ? `${describeAxis(axis.name, axis.size)} comes from here`
        : m.byDtype
          ? `this is ${node.type.dtype}[${names}]`
          : `this has axes [${names}]`;
    const key = `${place.file.path}:${place.start}:${text}`;
    if (!seen.has(key)) labels.push({ span: place, text });
    seen.add(key);
  }
  const message = m.isAboutOp ? `\`${env.word ?? op}\` ${m.message}` : m.message;
  report(env, m.code, message, span, "in this expression", m.help, labels);
}
