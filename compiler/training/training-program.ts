/**
 * What a micro-batch of an optimizer step computes: its shares of the loss, and of the gradient of every parameter that is trained. Everything
 * follows from the program of one sequence.
 */
import { Dim } from "../graph/dim.ts";
import type { Program } from "../graph/node.ts";
import type { Builder } from "../ops/builder.ts";
import type { Accumulator } from "./accumulate.ts";
import { BATCH, batchProgram } from "./batch.ts";
import { differentiateProgram } from "./differentiate.ts";
import { GRADIENT } from "./gradient-program.ts";
import { addStepObjective, LIKELIHOOD } from "./objective.ts";

/** A training program, and what of it is kept across micro-batches. */
export interface TrainingProgram {
  /** Outputs: `loss`, `nll`, `grad.` and the path of each trained parameter, updates and accumulators. */
  readonly program: Program;
  /** Parameters with a gradient. */
  readonly trained: readonly string[];
  readonly accumulators: readonly Accumulator[];
}

/**
 * `one` is the program of one sequence, built for training; a micro-batch has so many. `trains` says of a path whether it is a parameter that
 * is trained. Null where there is no likelihood that training could lower.
 */
export function trainingProgram(
  one: Program,
  sequences: number,
  trains: (path: string) => boolean,
  b: Builder,
): TrainingProgram | null {
  const objective = addStepObjective(one, b);
  if (objective === null) return null;
  const { program, accumulators } = batchProgram(objective, b, { ...BATCH, size: Dim.of(sequences) });
  const { main, functions } = differentiateProgram(program, "loss", b);
  const gradients = main.outputs.filter((o) => o.role === "gradient" && trains(o.name.slice(GRADIENT.length)));
  const others = program.main.outputs.filter(
    (o) => o.name === LIKELIHOOD || o.name === "loss" || o.role === "update" || o.role === "accumulator",
  );
  return {
    program: { main: { ...main, outputs: [...others, ...gradients] }, functions },
    trained: gradients.map((o) => o.name.slice(GRADIENT.length)),
    accumulators,
  };
}
