/**
 * What a micro-batch of an optimizer step computes: its shares of the loss, and of the gradient of every parameter that is trained. Everything
 * follows from the program of one sequence.
 */
import { Dim } from "../graph/dim.ts";
import type { Output, Program } from "../graph/node.ts";
import { hasAxis, TIME } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import type { Accumulator } from "./accumulate.ts";
import { BATCH, batchProgram } from "./batch.ts";
import { chosenAlone } from "./chosen-alone.ts";
import { differentiateProgram } from "./differentiate.ts";
import { GRADIENT, vocabularyOf } from "./gradient-program.ts";
import { addStepObjective } from "./objective.ts";

/** The host's count of sequences before those of a micro-batch, by which noise of a step differs from that of another. */
export const DRAWN = "share.drawn";

/** A training program, and what of it is kept across micro-batches. */
export interface TrainingProgram {
  /** Outputs: `loss`, what it is made of, `grad.` and the path of each trained parameter, updates, accumulators, and metrics summed over sequences. */
  readonly program: Program;
  /** Parameters with a gradient. */
  readonly trained: readonly string[];
  readonly accumulators: readonly Accumulator[];
  /** How many words there are. */
  readonly vocabulary: number;
}

/**
 * `one` is the program of one sequence, built for training; a micro-batch has so many. `trains` says of a path whether it is a parameter that
 * is trained, `counts` of a metric whether it is added up over the step's sequences. Null where there is no likelihood that training could lower.
 */
export function trainingProgram(
  one: Program,
  sequences: number,
  trains: (path: string) => boolean,
  counts: (metric: string) => boolean,
  b: Builder,
): TrainingProgram | null {
  const objective = addStepObjective(one, b);
  const words = vocabularyOf(one);
  const drawn = b.cast(b.must("param", [], { path: DRAWN, type: { dtype: "f32", axes: [] } }), "u32");
  if (objective === null || words === null) return null;
  const { program: batched, accumulators } = batchProgram(objective, b, { ...BATCH, size: Dim.of(sequences) }, drawn);
  const program = chosenAlone(batched, b);
  const { main, functions } = differentiateProgram(program, "loss", b);
  const gradients = main.outputs.filter((o) => o.role === "gradient" && trains(o.name.slice(GRADIENT.length)));
  const others = program.main.outputs.flatMap((o): Output[] => {
    if (o.role === "loss" || o.role === "update" || o.role === "accumulator") return [o];
    if (o.role !== "metric" || !counts(o.name) || hasAxis(o.node.type, TIME)) return [];
    const node = b.sum(b.cast(o.node, "f32"), hasAxis(o.node.type, BATCH.name) ? [BATCH.name] : []);
    return [{ ...o, node }];
  });
  return {
    program: { main: { ...main, outputs: [...others, ...gradients] }, functions },
    trained: gradients.map((o) => o.name.slice(GRADIENT.length)),
    accumulators,
    vocabulary: words,
  };
}
