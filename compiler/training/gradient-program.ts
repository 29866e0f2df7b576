/**
 * What a training step computes, without the step: the objective of a micro-batch of so many sequences, the terms that it is made of, and
 * its gradient by every parameter. The number of sequences is a number here, so that any program compiles whose layers do for a whole
 * sequence. Limits: sequences of one length; pairs of tokens are held for all sequences at once.
 */
import { Dim } from "../graph/dim.ts";
import type { Program } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import type { Accumulator } from "./accumulate.ts";
import { BATCH, batchProgram } from "./batch.ts";
import { chosenAlone } from "./chosen-alone.ts";
import { differentiateProgram } from "./differentiate.ts";
import { addObjective } from "./objective.ts";

export interface GradientProgram {
  /** Inputs ids and target u32 [batch, T], counted f32 [batch, T]; outputs `loss`, the terms, and `grad.` and the path of a parameter. */
  readonly program: Program;
  /** Each loss that a layer states, as it is in `loss`. */
  readonly terms: readonly string[];
  /** Parameters that have a part in the loss. */
  readonly parameters: readonly string[];
  readonly accumulators: readonly Accumulator[];
  /** How many words there are. */
  readonly vocabulary: number;
}

/** `program` is that of one sequence, built for training. Null where there is no likelihood that training could lower. */
export function gradientProgram(program: Program, sequences: number, b: Builder): GradientProgram | null {
  const objective = addObjective(program, b);
  const words = vocabularyOf(program);
  if (objective === null || words === null) return null;
  const losses = program.main.outputs.filter((o) => o.role === "loss");
  const terms = losses.map((o) => o.name);
  const main = { ...objective.main, outputs: [...objective.main.outputs, ...losses] };
  const batched = batchProgram({ ...objective, main }, b, { ...BATCH, size: Dim.of(sequences) });
  const chosen = chosenAlone(batched.program, b);
  const found = differentiateProgram(chosen, "loss", b);
  const shown = chosen.main.outputs.filter((o) => terms.includes(o.name));
  return {
    program: { ...found, main: { ...found.main, outputs: [...found.main.outputs, ...shown] } },
    terms,
    parameters: found.main.outputs.flatMap(({ name, role }) =>
      role === "gradient" ? [name.slice(GRADIENT.length)] : [],
    ),
    accumulators: batched.accumulators,
    vocabulary: words,
  };
}

/** How many words a model's logits tell apart; null where that is no number. */
export function vocabularyOf({ main }: Program): number | null {
  const logits = main.outputs.find((o) => o.name === "logits")?.node.type.axes;
  return logits?.find((axis) => axis.name !== TIME)?.size.value ?? null;
}

/** What the name of a gradient begins with; the parameter's path follows. */
export const GRADIENT = "grad.";
