/**
 * A model into a plan that trains it. The entry `micro` runs forward and backward for some sequences of an optimizer step: it adds its shares
 * of the loss and of all gradients to buffers that are kept until the step ends.
 */
import { failure } from "../grammar/diagnostic.ts";
import type { Keep } from "./codegen/assemble/kept.ts";
import { Dim } from "./graph/dim.ts";
import { Graph, type Output } from "./graph/node.ts";
import { splitMetric } from "./compile.ts";
import { stateOfUpdate } from "./graph/path.ts";
import { buildProgram, type Model, newContext } from "./language/model/model.ts";
import { Builder } from "./ops/builder.ts";
import type { UpdateRule } from "./codegen/assemble/update.ts";
import { compileProgram, type CompileOptions, type EntryOptions } from "./pipeline.ts";
import type { HostScalar, Plan } from "./plan/plan.ts";
import { GRADIENT } from "./training/gradient-program.ts";
import { BATCH, batchProgram } from "./training/batch.ts";
import { addLikelihood, LIKELIHOOD, STEP_SHARES } from "./training/objective.ts";
import { DRAWN, type TrainingProgram, trainingProgram } from "./training/training-program.ts";

export { isSaved } from "./codegen/assemble/calls.ts";
export { OPTIMIZER, stateId, VERDICT } from "./codegen/assemble/update.ts";

/** The program of a micro-batch of so many sequences. Throws `train/no-loss` where the model's results are not one row of numbers per token. */
export function makeTrainingProgram(
  model: Model,
  { sequences, trains, metrics = [] }: Pick<CompileTrainingOptions, "sequences" | "trains" | "metrics">,
): TrainingProgram {
  const ctx = { ...newContext("build", undefined, "train"), builder: new Builder(new Graph()) };
  const trainable = new Set(model.parameters.flatMap((p) => (p.state || !trains(p.path) ? [] : [p.path])));
  const made = trainingProgram(
    buildProgram(model.instance, ctx),
    sequences,
    (path) => trainable.has(path),
    (metric) => metrics.includes(splitMetric(metric).metric),
    ctx.builder,
  );
  if (made !== null) return made;
  throw noLoss(model);
}

/** What is told of a model that training has nothing to lower of. */
export function noLoss(model: Model): Error {
  return failure("train/no-loss", `\`${model.name}\` has no loss: its result is not one row of logits for each token`, {
    labels: [{ span: model.instance.decl.name.span, text: "this model" }],
    help: "train a model whose result is f32[T, V]",
  });
}

/** Ids of buffers that are kept for a step: losses by name, and metrics. */
export const STEP_LOSS = "step.";
export const STEP_METRIC = "metric.";

/** The entry of a micro-batch. */
export function microEntry({ program, accumulators }: TrainingProgram): EntryOptions {
  const initials = new Map(accumulators.map((a) => [a.path, a.initial]));
  const sum = (id: string, of: string | null): Keep => ({
    id,
    adds: true,
    kept: { reset: "step", initial: 0, of },
    like: of,
    next: null,
  });
  const keepOf = ({ name, role }: Output): Keep => {
    switch (role) {
      case "loss":
        return sum(`${STEP_LOSS}${name}`, null);
      case "gradient":
        return sum(name, name.slice(GRADIENT.length));
      case "metric":
        return sum(`${STEP_METRIC}${name}`, null);
      case "update":
        return { ...sum(name, stateOfUpdate(name)), adds: false };
      case "accumulator": {
        const kept = { reset: "step", initial: initials.get(name) ?? 0, of: null } as const;
        return { id: `next.${name}`, adds: false, kept, like: null, next: name };
      }
      case "result":
        throw new Error(`${name} is a result, and a micro-batch gives none`);
      default:
        return role satisfies never;
    }
  };
  const keeps = new Map(program.main.outputs.map((output) => [output.name, keepOf(output)]));
  return { output: "micro", computes: [...keeps.keys()], regimes: ["whole"], program, keeps };
}

/** What each token of as many sequences costs by the rule by which the model is evaluated: `nll` f32 [batch, T] of `nll.whole`. */
function evaluationEntry(model: Model, sequences: number): EntryOptions {
  const builder = new Builder(new Graph());
  const ctx = { ...newContext("build", undefined, "evaluate"), builder };
  const scored = addLikelihood(buildProgram(model.instance, ctx), builder);
  const { program } = batchProgram(scored, builder, { ...BATCH, size: Dim.of(sequences) });
  return { output: LIKELIHOOD, regimes: ["whole"], program };
}

/** What a counted token and a micro-batch weigh. */
export const SHARES: readonly HostScalar[] = [
  { id: STEP_SHARES.token, expr: ["div", 1, "tokens"] },
  { id: STEP_SHARES.micro, expr: ["div", 1, "micro"] },
  // Beyond 2^24 an f32 has no odd numbers; the noise begins anew then.
  { id: DRAWN, expr: ["sub", "drawn", ["mul", 16777216, ["floor", ["div", "drawn", 16777216]]]] },
];

const CLIP = "clip";

/** How parameters are optimized. */
export interface Optimizing {
  readonly ruleOf: (path: string) => UpdateRule;
  /** What rules use. */
  readonly scalars: readonly HostScalar[];
  /** Gradients whose norm, over all parameters, is larger are scaled down to it; 0: none. */
  readonly clip: number;
}

export interface CompileTrainingOptions extends Pick<
  CompileOptions,
  "device" | "force" | "verify" | "scheduled" | "dump"
> {
  /** Of a micro-batch. */
  readonly sequences: number;
  readonly trains: (path: string) => boolean;
  readonly optimizing: Optimizing;
  /** Names of metrics without a time axis, such as `expert_load`, that are added up over the sequences of a step. */
  readonly metrics?: readonly string[];
}

export interface TrainingPlan {
  readonly plan: Plan;
  readonly trained: readonly string[];
  /** How many words the model knows. */
  readonly vocabulary: number;
}

/** A plan with the entries `micro.whole`, `update` and `nll.whole`. Weights are f32 on the device. Throws `train/no-loss`. */
export function compileTraining(
  model: Model,
  { sequences, trains, optimizing, metrics = [], ...options }: CompileTrainingOptions,
): TrainingPlan {
  const training = makeTrainingProgram(model, { sequences, trains, metrics });
  const updates = training.program.main.outputs.filter((o) => o.role === "update");
  const plan = compileProgram(training.program, {
    ...options,
    model: model.name,
    storage: () => "f32",
    entries: [microEntry(training), evaluationEntry(model, sequences)],
    scalars: [...SHARES, { id: CLIP, expr: optimizing.clip }, ...optimizing.scalars],
    update: { clip: CLIP, ruleOf: optimizing.ruleOf, replaced: updates.map((o) => stateOfUpdate(o.name)) },
  });
  return { plan, trained: training.trained, vocabulary: training.vocabulary };
}
