/**
 * A model into a plan that trains it. The entry `micro` runs forward and backward for some sequences of an optimizer step: it adds its shares
 * of the loss and of all gradients to buffers that are kept until the step ends. Everything follows from the program of one sequence.
 */
import { Dim } from "../graph/dim.ts";
import { Graph, type Program } from "../graph/node.ts";
import { stateOfUpdate } from "../graph/path.ts";
import { buildProgram, type Model, newContext } from "../language/model/model.ts";
import { Builder } from "../ops/builder.ts";
import type { EntryOptions } from "../pipeline.ts";
import type { Keep } from "../codegen/assemble/kept.ts";
import type { HostScalar } from "../plan/plan.ts";
import type { Accumulator } from "./accumulate.ts";
import { BATCH, batchProgram } from "./batch.ts";
import { differentiateProgram } from "./differentiate.ts";
import { GRADIENT } from "./gradient-program.ts";
import { addStepObjective, LIKELIHOOD, STEP_SHARES } from "./objective.ts";

/** A training program, and what of it is kept across micro-batches. */
export interface TrainingProgram {
  readonly program: Program;
  /** Parameters with a gradient. */
  readonly trained: readonly string[];
  readonly accumulators: readonly Accumulator[];
}

export interface TrainingProgramOptions {
  /** Of a micro-batch. */
  readonly sequences: number;
  /** Whether the parameter of a path is trained. */
  readonly trains: (path: string) => boolean;
}

/** The program of a micro-batch; null where the model has no likelihood that training could lower. */
export function makeTrainingProgram(
  model: Model,
  { sequences, trains }: TrainingProgramOptions,
): TrainingProgram | null {
  const builder = new Builder(new Graph());
  const ctx = { ...newContext("build", undefined, "train"), builder };
  const objective = addStepObjective(buildProgram(model.instance, ctx), builder);
  if (objective === null) return null;
  const { program, accumulators } = batchProgram(objective, builder, { ...BATCH, size: Dim.of(sequences) });
  const states = new Set(model.parameters.filter((p) => p.state).map((p) => p.path));
  const known = new Set(model.parameters.map((p) => p.path));
  const { main, functions } = differentiateProgram(program, "loss", builder);
  const trained: string[] = [];
  const gradients = main.outputs.filter(({ name, role }) => {
    const path = name.slice(GRADIENT.length);
    if (role !== "gradient" || !known.has(path) || states.has(path) || !trains(path)) return false;
    trained.push(path);
    return true;
  });
  const others = program.main.outputs.filter(
    (o) => o.name === LIKELIHOOD || o.name === "loss" || o.role === "update" || o.role === "accumulator",
  );
  return {
    program: {
      main: { ...main, outputs: [...others, ...gradients] },
      functions: new Map([...program.functions, ...functions]),
    },
    trained,
    accumulators,
  };
}

/** The entry of a micro-batch. */
export function microEntry({ program, accumulators }: TrainingProgram): EntryOptions {
  const initials = new Map(accumulators.map((a) => [a.path, a.initial]));
  const keeps = new Map(
    program.main.outputs.map(({ name, role }): [string, Keep] => {
      const add = (of: string | null): Keep => ({
        id: name,
        adds: true,
        kept: { reset: "step", initial: 0, of },
        like: of,
        next: null,
      });
      if (role === "gradient") return [name, add(name.slice(GRADIENT.length))];
      if (role === "accumulator")
        return [
          name,
          {
            id: `next.${name}`,
            adds: false,
            kept: { reset: "step", initial: initials.get(name) ?? 0, of: null },
            like: null,
            next: name,
          },
        ];
      if (role !== "update") return [name, add(null)];
      const of = stateOfUpdate(name);
      return [name, { ...add(of), adds: false }];
    }),
  );
  return { output: "micro", computes: [...keeps.keys()], regimes: ["whole"], program, keeps };
}

/** What a counted token and a micro-batch weigh. */
export const SHARES: readonly HostScalar[] = [
  { id: STEP_SHARES.token, expr: ["div", 1, "tokens"] },
  { id: STEP_SHARES.micro, expr: ["div", 1, "micro"] },
];
