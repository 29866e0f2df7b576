/**
 * Scoring: the negative log-likelihood of given tokens, as one more output of a model. What it is says the language's own
 * function of that name, `nll[V](logits, target)`; so logits never leave the device when texts are scored.
 */
import type { Expr, Name } from "../../grammar/ast.ts";
import type { Span } from "../../grammar/span.ts";
import type { Program } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import type { Context, Env } from "../interpret/context.ts";
import { evaluate } from "../interpret/context.ts";
import type { Value } from "../interpret/value.ts";
import type { Instance } from "../interpret/value.ts";

const FUNCTION = "nll";

/** The program with an output `nll` f32 [T] and an input `target` u32 [T], where its result is logits over a vocabulary; else as it was. */
export function addScore(program: Program, instance: Instance, ctx: Context): Program {
  const logits = program.main.outputs.find((o) => o.role === "result" && o.name === "logits")?.node;
  const [time, vocabulary, ...more] = logits?.type.axes ?? [];
  const known = instance.scope.lookup(FUNCTION)?.item.kind === "fn";
  if (!known || logits === undefined || time?.name !== TIME || vocabulary === undefined || more.length > 0)
    return program;
  const span: Span = logits.origin ?? instance.span;
  const target = ctx.builder.must("input", [], { name: "target", type: { dtype: "u32", axes: [time] } }, span);
  const locals = new Map<string, Value>([
    ["logits", { kind: "tensor", node: logits }],
    ["target", { kind: "tensor", node: target }],
    ["V", { kind: "axis", label: vocabulary.name, size: vocabulary.size, origin: vocabulary.origin }],
  ]);
  const env: Env = { ctx, scope: instance.scope, locals, instance: null, sink: [], calls: [] };
  const score = evaluate(env, {
    kind: "call",
    callee: { kind: "bracket", object: nameExpr(FUNCTION, span), items: [nameExpr("V", span)], span },
    args: ["logits", "target"].map((text) => ({ name: null, value: nameExpr(text, span), span })),
    span,
  });
  if (score.kind !== "tensor") return program;
  const { main } = program;
  return {
    ...program,
    main: {
      ...main,
      inputs: [...main.inputs, target],
      outputs: [...main.outputs, { name: FUNCTION, role: "result", node: score.node }],
    },
  };
}

function nameExpr(text: string, span: Span): Expr {
  const name: Name = { text, span };
  return { kind: "name", name, span };
}
