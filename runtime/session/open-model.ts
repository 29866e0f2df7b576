/** From a model and its weights to a session on a device that is open: program, plan, parameters. */
import { CannotGenerate, compileModel, type Model, positionsOf } from "../../compiler/index.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import {
  anyText,
  callback,
  checkOption,
  checkOptions,
  list,
  needed,
  object,
  oneOf,
  type Rules,
  signal,
  text,
  whole,
} from "../../grammar/option.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import type { Device } from "../gpu/device.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import { noMetric } from "./metrics.ts";
import { openSession, type Session, USUAL_CAPACITY } from "./session.ts";

/** What is run: a model, and where its parameters come from. */
export interface RunnableModel {
  readonly model: Model;
  readonly source: ParameterSource;
}

export interface ModelOptions extends AbortOptions {
  /** The longest sequence, in tokens. */
  readonly capacity?: number;
  /** How many sequences can be in progress at once. */
  readonly sequences?: number;
  /** Unless it is said that the model has to generate, one that cannot is opened for evaluation, and refuses when it is asked to. */
  readonly purpose?: "generate";
  /** Metrics to compile, by the names that `metric` statements give; `collectMetrics` runs them. */
  readonly metrics?: readonly string[];
  /** Parts such as `blocks[3].mlp`: what these are given is compiled as a metric, and nothing else. */
  readonly given?: readonly string[];
  /** Hears what the files leave a choice of, and what was taken; also of weights so large that sums with them may pass what float32 holds. */
  readonly onNote?: (note: Diagnostic) => void;
  /** Hears the bytes uploaded so far. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

export const MODEL_RULES: Rules<ModelOptions> = {
  capacity: whole(1),
  sequences: whole(1),
  purpose: oneOf("generate"),
  metrics: list(text, "a list of names"),
  given: list(anyText, "a list of paths"),
  onProgress: callback,
  onNote: callback,
  signal,
};

/** Opens a model on a device, which stays open when the session is closed. Throws a `MoeError` that says what does not fit. */
export async function openOn(
  device: Device,
  { model, source }: RunnableModel,
  options: ModelOptions = {},
): Promise<Session> {
  checkOptions("openOn", options, MODEL_RULES);
  checkAborted("openOn", options.signal);
  const { sequences, onProgress, onNote, signal: wanted } = options;
  const capacity = capacityOf(model, options.capacity);
  return openSession({
    ...compileFor(model, device, source, options),
    ...{ device, source, capacity, sequences, onProgress, onNote, signal: wanted },
  });
}

/** No more positions than the model's tables have. Throws `session/positions` where more are asked for. */
function capacityOf(model: Model, wanted: number | undefined): number | undefined {
  const tokens = positionsOf(model);
  if (tokens === null) return wanted;
  if (wanted !== undefined && wanted > tokens)
    throw failure(
      "session/positions",
      `the model has a table of ${tokens} positions, and a capacity of ${wanted} is asked for`,
      {
        help: `open it with a \`capacity\` of at most ${tokens}`,
      },
    );
  return wanted ?? Math.min(tokens, USUAL_CAPACITY);
}

/** A plan that generates, or one for evaluation alone and why. */
function compileFor(
  model: Model,
  device: Device,
  source: Pick<ParameterSource, "storage">,
  { metrics, given, purpose }: ModelOptions,
): { readonly plan: Plan; readonly refusal?: Error } {
  if (given !== undefined) {
    const { facts } = device;
    return { plan: compileModel(model, { device: facts, storage: source.storage, entries: [], given }) };
  }
  try {
    return { plan: compile(model, device, source, metrics) };
  } catch (error) {
    if (purpose === "generate" || !(error instanceof CannotGenerate)) throw error;
    return { plan: compile(model, device, source, metrics, "evaluate"), refusal: error };
  }
}

/** The plan of a model for a device, its parameters kept as they are stored. Throws `session/no-metric` when it has none of `metrics`. */
export function compile(
  model: Model,
  device: Device,
  source: Pick<ParameterSource, "storage">,
  metrics: readonly string[] = [],
  purpose: "generate" | "evaluate" = "generate",
): Plan {
  checkOption("compile", "model", model, needed(object("a model, such as `model` of `loadModel`", "parameters")));
  checkOption("compile", "device", device, needed(object("a device, of `openDevice`", "gpu", "facts")));
  checkOption("compile", "source", source, needed(object("where parameters come from", "storage")));
  checkOption("compile", "metrics", metrics, MODEL_RULES.metrics);
  checkOption("compile", "purpose", purpose, oneOf("generate", "evaluate"));
  const plan = compileModel(model, { device: device.facts, storage: source.storage, metrics, purpose });
  const [first] = metrics;
  if (first !== undefined && !plan.entries.some((e) => e.output === "metrics")) throw noMetric(plan, first);
  return plan;
}
