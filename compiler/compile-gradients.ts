/** A model's plan for gradients: one entry, `gradients.whole`, for a micro-batch of so many sequences of one length. */
import { noLoss } from "./compile-training.ts";
import { Graph } from "./graph/node.ts";
import { buildProgram, type Model, newContext } from "./language/model/model.ts";
import { Builder } from "./ops/builder.ts";
import { compileProgram, type CompileOptions } from "./pipeline.ts";
import type { Plan } from "./plan/plan.ts";
import { type GradientProgram, gradientProgram } from "./training/gradient-program.ts";

export interface CompileGradientsOptions extends Pick<CompileOptions, "device" | "storage" | "verify"> {
  /** Of the micro-batch. */
  readonly sequences: number;
}

export interface GradientPlan extends Omit<GradientProgram, "program"> {
  readonly plan: Plan;
}

/** The model is built as it is trained. Throws `train/no-loss` where its results are not one row of numbers per token. */
export function compileGradients(model: Model, { sequences, ...options }: CompileGradientsOptions): GradientPlan {
  const ctx = { ...newContext("build", undefined, "train"), builder: new Builder(new Graph()) };
  const found = gradientProgram(buildProgram(model.instance, ctx), sequences, ctx.builder);
  if (found === null) throw noLoss(model);
  const { program, ...rest } = found;
  const computes = program.main.outputs.map((o) => o.name);
  const entries = [{ output: "gradients", computes, regimes: ["whole"] }] as const;
  return { ...rest, plan: compileProgram(program, { ...options, model: model.name, entries }) };
}
