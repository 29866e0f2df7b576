/** A model into a plan: its program built, compiled for a device, and what has no step form told as a diagnostic. */
import { MoeError } from "../grammar/diagnostic.ts";
import {
  anyText,
  callback,
  checkOption,
  checkOptions,
  flag,
  list,
  needed,
  object,
  oneOf,
  type Rules,
  text,
  whole,
} from "../grammar/option.ts";
import { Graph, type Program } from "./graph/node.ts";
import { isSameProgram } from "./graph/traverse.ts";
import { buildProgram, newContext, type Model } from "./language/model/model.ts";
import type { Context, Purpose } from "./language/interpret/context.ts";
import { givenTo, probeOf } from "./language/interpret/probe.ts";
import { Builder } from "./ops/builder.ts";
import { addLikelihood, LIKELIHOOD } from "./training/objective.ts";
import {
  compileProgram,
  type CompileOptions,
  type EntryOptions,
  NotCausal,
  parametersOf,
  peeksOf,
} from "./pipeline.ts";
import { checkFacts } from "./plan/facts.ts";
import type { Plan } from "./plan/plan.ts";
import { WEIGHT_FORMATS, type WeightFormat } from "./plan/format.ts";
import { STORE_TYPES } from "./plan/store.ts";
import { describePeeks } from "./refusal.ts";

export type CompileModelOptions = Omit<CompileOptions, "model" | "entries" | "scalars" | "update"> & {
  readonly entries?: CompileOptions["entries"];
  /** Names of metrics, such as `expert_load`: of all layers that declare them, in one more entry, `metrics`. */
  readonly metrics?: readonly string[];
  /** Parts such as `blocks[3].mlp`: what each is given is one more metric, `givenTo(part)`. */
  readonly given?: readonly string[];
  /** What the plan has to do: generate as well, or evaluate alone. */
  readonly purpose?: "generate" | "evaluate";
};

const COMPILE_RULES: Rules<CompileModelOptions> = {
  device: needed(object("facts of a device, such as `facts` of `openDevice`")),
  storage: needed(callback),
  entries: list(object("an entry", "output", "regimes"), "a list of { output, regimes }"),
  metrics: list(text, "a list of names"),
  given: list(anyText, "a list of paths"),
  purpose: oneOf("generate", "evaluate"),
  force: object("an object of kernel templates"),
  cache: oneOf(...STORE_TYPES),
  activations: oneOf(...STORE_TYPES),
  stepTokens: whole(1),
  dump: callback,
  scheduled: callback,
  verify: flag,
};

const STORAGE_TYPE = needed(oneOf(...WEIGHT_FORMATS));

/** A model looks ahead in the program that is to generate: it can be evaluated. */
export class CannotGenerate extends MoeError {}

/** What a model is known by: whoever takes one checks it so. */
export const MODEL = needed(object("a model, such as `model` of `loadModel`", "instance", "parameters"));

/** `expert_load` of `blocks[3].expert_load`, and the part of the model that declares it. */
export function splitMetric(name: string): { readonly part: string; readonly metric: string } {
  const dot = name.lastIndexOf(".");
  return { part: name.slice(0, Math.max(0, dot)), metric: name.slice(dot + 1) };
}

/**
 * Unless `entries` says otherwise: `logits` in both regimes, for generation, and `nll`, what each token's `target` costs in nats, so that
 * scoring reads one number back per token and not one per word of the vocabulary. Where evaluating looks at later tokens, or follows
 * another rule than generating, whole sequences have entries of their own; so do metrics that look ahead. Throws `CannotGenerate` (`time/future`) at the ops that look ahead when a model that
 * is to generate has no rule that does not. A plan without the metrics asked for has no entry for them.
 */
export function compileModel(model: Model, options: CompileModelOptions): Plan {
  checkOption("compileModel", "model", model, MODEL);
  checkOptions("compileModel", options, COMPILE_RULES);
  checkFacts("compileModel", options.device);
  const { purpose = "generate", given = [] } = options;
  const storage = (path: string): WeightFormat => {
    const type = options.storage(path);
    checkOption("compileModel", `storage("${path}")`, type, STORAGE_TYPE);
    return type;
  };
  const builder = new Builder(new Graph());
  const generating = likely(model, "generate", given, builder);
  const evaluating = likely(model, "evaluate", given, builder);
  const told = new Set(given.map(givenTo));
  const names = evaluating.program.main.outputs.map((o) => o.name);
  const sameRule = isSameProgram(generating.program, evaluating.program);
  const isCausal = (program: Program, outputs: readonly string[]): boolean => peeksOf(program, outputs).length === 0;
  const whole = !sameRule || !isCausal(evaluating.program, ["logits"]);
  const generates = purpose === "generate" || isCausal(generating.program, ["logits"]);
  const scored = names.includes(LIKELIHOOD);
  const computes = evaluating.program.main.outputs
    .filter(
      ({ name, role }) => role === "metric" && (told.has(name) || options.metrics?.includes(splitMetric(name).metric)),
    )
    .map((o) => o.name);
  // Metrics may be whole numbers, which hide that what they come from is NaN: the likelihood shows it.
  const looked = scored && given.length === 0 ? [LIKELIHOOD] : [];
  const evaluated = (output: string, more: Partial<EntryOptions> = {}): EntryOptions => ({
    output,
    regimes: [whole || !isCausal(evaluating.program, more.computes ?? []) ? "whole" : "prefill"],
    program: evaluating.program,
    ...more,
  });
  const entries: CompileOptions["entries"] = [
    ...(options.entries ?? [
      ...(generates ? [{ output: "logits", regimes: ["prefill", "decode"] } as const] : []),
      ...(whole ? [evaluated("logits")] : []),
      ...(scored ? [evaluated(LIKELIHOOD)] : []),
    ]),
    ...(computes.length === 0 ? [] : [evaluated("metrics", { computes: [...computes, ...looked] })]),
  ];
  try {
    return compileProgram(generating.program, { ...options, storage, model: model.name, entries });
  } catch (error) {
    if (!(error instanceof NotCausal)) throw error;
    // The passes have rewritten what looks ahead; it is told as it was written.
    const outputs = entries.flatMap((e) => (e.program === undefined ? (e.computes ?? [e.output]) : []));
    throw new CannotGenerate(describePeeks(peeksOf(generating.program, outputs), generating.program, generating.sites));
  }
}

/** The model's program with its likelihood, and where its nodes come from. */
function likely(
  model: Model,
  purpose: Purpose,
  given: readonly string[],
  builder: Builder,
): { readonly program: Program; readonly sites: Context["sites"] } {
  const ctx = { ...newContext("build", undefined, purpose, new Set(given.map(probeOf))), builder };
  return { program: addLikelihood(buildProgram(model.instance, ctx), builder), sites: ctx.sites };
}

/** Paths of the parameters on the way to what these parts are given: what a plan for that alone holds. */
export function parametersGiving(model: Model, parts: readonly string[]): readonly string[] {
  return parametersOf(likely(model, "evaluate", parts, new Builder(new Graph())).program, parts.map(givenTo));
}
