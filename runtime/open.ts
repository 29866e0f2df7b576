/**
 * From a checkpoint's folder to a model that runs: config and map, program, plan, parameters on a device. The pieces are
 * public too (`loadModel`, `compileModel`, `openDevice`, `openSession`) for whoever wants to do something in between.
 */
import type { Model } from "../compiler/index.ts";
import { compileModel, positionsOf } from "../compiler/index.ts";
import { type Diagnostic, failure, MoeError } from "../grammar/diagnostic.ts";
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
} from "../grammar/option.ts";
import type { Plan } from "../compiler/plan/plan.ts";
import { type AbortOptions, checkAborted } from "./abort.ts";
import { type DeviceOptions, openDevice } from "./dawn/open-device.ts";
import type { Device } from "./gpu/device.ts";
import { type LoadedModel, loadWithMaps } from "./model/model.ts";
import { noMetric } from "./session/metrics.ts";
import type { ParameterSource } from "./gpu/parameters.ts";
import { openSession, type Session, USUAL_CAPACITY } from "./session/session.ts";

export interface OpenOptions extends AbortOptions {
  /** Part of an adapter's name; the best one otherwise. */
  readonly adapter?: string;
  /** A device that is open already; it stays open when the session is closed. */
  readonly device?: Device;
  /** A `.moe` file with maps that are tried before those of the standard library. */
  readonly map?: string;
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

const OPEN_RULES: Rules<OpenOptions> = {
  adapter: text,
  device: object("a device, of `openDevice`", "gpu", "facts"),
  map: text,
  capacity: whole(1),
  sequences: whole(1),
  purpose: oneOf("generate"),
  metrics: list(text, "a list of names"),
  given: list(anyText, "a list of paths"),
  onProgress: callback,
  onNote: callback,
  signal,
};

/** Opens a checkpoint on a device. `Session.close` frees everything. Throws a `MoeError` that says what does not fit. */
export async function open(folder: string, options: OpenOptions = {}): Promise<Session> {
  checkOption("open", "folder", folder, needed(text));
  checkOptions("open", options, OPEN_RULES);
  checkAborted("open", options.signal);
  const loaded = await loadWithMaps(folder, options.map);
  try {
    for (const note of loaded.notes) options.onNote?.(note);
    return await openModel(loaded, options);
  } finally {
    await loaded.checkpoint.close();
  }
}

/** The same for a model that was loaded; its checkpoint may be closed afterwards. */
export async function openModel(loaded: LoadedModel, options: OpenOptions = {}): Promise<Session> {
  checkOption("openModel", "loaded", loaded, needed(object("a model, of `loadModel`", "model", "source")));
  checkOptions("openModel", options, OPEN_RULES);
  checkAborted("openModel", options.signal);
  const { model, source } = loaded;
  const device = options.device ?? (await openDevice(deviceOptions(options.adapter)));
  try {
    const { sequences, onProgress, onNote, signal: wanted } = options;
    const capacity = capacityOf(model, options.capacity);
    const session = await openSession({
      ...compileFor(model, device, source, options),
      ...{ device, source, capacity, sequences, onProgress, onNote, signal: wanted },
    });
    if (options.device === undefined) session.onClose(() => device.close());
    return session;
  } catch (error) {
    if (options.device === undefined) device.close();
    throw error;
  }
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
  { metrics, given, purpose }: OpenOptions,
): { readonly plan: Plan; readonly refusal?: Error } {
  if (given !== undefined) {
    const { facts } = device;
    return { plan: compileModel(model, { device: facts, storage: source.storage, entries: [], given }) };
  }
  try {
    return { plan: compile(model, device, source, metrics) };
  } catch (error) {
    const looksAhead = error instanceof MoeError && error.diagnostics.every((d) => d.code.startsWith("time/"));
    if (purpose === "generate" || !looksAhead) throw error;
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
  checkOption("compile", "device", device, needed(OPEN_RULES.device));
  checkOption("compile", "source", source, needed(object("where parameters come from", "storage")));
  checkOption("compile", "metrics", metrics, OPEN_RULES.metrics);
  checkOption("compile", "purpose", purpose, oneOf("generate", "evaluate"));
  const plan = compileModel(model, { device: device.facts, storage: source.storage, metrics, purpose });
  const [first] = metrics;
  if (first !== undefined && !plan.entries.some((e) => e.name.startsWith("metrics."))) throw noMetric(plan, first);
  return plan;
}

export function deviceOptions(adapter: string | undefined): DeviceOptions {
  return adapter === undefined ? {} : { adapter };
}
