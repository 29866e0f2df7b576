/** A model into a plan: its program built, compiled for a device, and what has no step form told as a diagnostic. */
import { MoeError } from "../grammar/diagnostic.ts";
import type { Node, Program } from "./graph/node.ts";
import { TIME, findAxis } from "./graph/type.ts";
import { buildProgram, newContext, type Model } from "./model/model.ts";
import type { Builder } from "./ops/builder.ts";
import { compileProgram, NotCausal, type CompileOptions } from "./pipeline.ts";
import type { Plan } from "./plan/plan.ts";
import { describePeeks } from "./refusal.ts";

export type CompileModelOptions = Omit<CompileOptions, "model" | "entries"> & {
  readonly entries?: CompileOptions["entries"];
};

/**
 * Throws `time/future` and `time/no-state` at the ops that need later positions. Unless `entries` says otherwise: `logits`
 * in both regimes, for generation, and `nll`, what each token's `target` costs in nats, so that scoring reads one number
 * back per token and not one per word of the vocabulary.
 */
export function compileModel(model: Model, options: CompileModelOptions): Plan {
  const ctx = newContext();
  const program = addLikelihood(buildProgram(model.instance, ctx), ctx.builder);
  const scored = program.main.outputs.some((o) => o.name === "nll");
  const entries = options.entries ?? [
    { output: "logits", regimes: ["many", "few"] },
    ...(scored ? [{ output: "nll", regimes: ["many"] } as const] : []),
  ];
  try {
    return compileProgram(program, { ...options, model: model.name, entries });
  } catch (error) {
    throw error instanceof NotCausal ? new MoeError(describePeeks(error, program, ctx.sites)) : error;
  }
}

/** With an output `nll` f32 [T] and its input `target` u32 [T], where the logits are one row of numbers per token. */
function addLikelihood(program: Program, b: Builder): Program {
  const { main } = program;
  const logits = main.outputs.find((o) => o.name === "logits")?.node;
  const [word, ...more] = logits?.type.axes.filter((a) => a.name !== TIME) ?? [];
  const time = logits === undefined ? null : findAxis(logits.type, TIME);
  if (logits === undefined || word === undefined || more.length > 0 || time === null) return program;
  const target: Node<"input"> = b.must("input", [], { name: "target", type: { dtype: "u32", axes: [time] } });
  const top = b.reduceMax(logits, [word.name]);
  const total = b.log(b.sum(b.exp(b.minus(logits, top)), [word.name]));
  const node = b.minus(b.plus(total, top), b.take(logits, target, word.name));
  const outputs = [...main.outputs, { name: "nll", role: "result", node } as const];
  return { ...program, main: { ...main, inputs: [...main.inputs, target], outputs } };
}
