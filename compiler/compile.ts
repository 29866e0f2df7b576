/** A model into a plan: its program built, compiled for a device, and what has no step form told as a diagnostic. */
import { MoeError } from "../grammar/diagnostic.ts";
import type { Diagnostic } from "../grammar/diagnostic.ts";
import { buildProgram, type Model } from "./model/model.ts";
import { compileProgram, NotCausal, type CompileOptions } from "./pipeline.ts";
import type { Plan } from "./plan/plan.ts";

export type CompileModelOptions = Omit<CompileOptions, "model" | "entries"> & {
  readonly entries?: CompileOptions["entries"];
};

/** Throws `time/future` and `time/no-state` at the ops that need later positions. `entries` are those of generation unless given. */
export function compileModel(model: Model, options: CompileModelOptions): Plan {
  const program = buildProgram(model.instance);
  const entries = options.entries ?? [{ output: "logits", regimes: ["many", "few"] }];
  try {
    return compileProgram(program, { ...options, model: model.name, entries });
  } catch (error) {
    throw error instanceof NotCausal ? new MoeError(describePeeks(error)) : error;
  }
}

export function describePeeks({ peeks }: NotCausal): Diagnostic[] {
  return peeks.map(({ code, message, origin }) => ({
    code,
    severity: "error",
    message,
    labels: origin === null ? [] : [{ span: origin, text: "looks ahead here" }],
    notes: [],
    help: "such a model can be checked and tested, not run token by token; use a causal rule instead",
  }));
}
