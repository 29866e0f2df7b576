/** What a training run is told, what it then takes, and how reports call it. */
import { flag, list, members, needed, number, object, type Rules, signal, text, whole } from "../../grammar/option.ts";
import type { AbortOptions } from "../abort.ts";
import type { Device } from "../gpu/device.ts";
import type { LoadedModel } from "../model/model.ts";
import type { DataOptions } from "./corpus/open-data.ts";
import { type OptimizingOptions, optimizingDefaults } from "./optimizing.ts";
import type { RunRecord } from "./record.ts";
import { SAMPLE_RULES, type SampleOptions } from "./samples.ts";

export interface TrainOptions extends OptimizingOptions, AbortOptions {
  readonly device: Device;
  /** What is trained, as it is in its folder. */
  readonly loaded: LoadedModel;
  /** The folder of the run: checkpoints, `metrics.jsonl`, tokenised texts. */
  readonly out: string;
  /** `tokenizer`: a folder with one, by default that of the model; null where there are only ids. */
  readonly data: Pick<DataOptions, "sources" | "pack" | "heldOut" | "onProgress"> & {
    readonly tokenizer?: string | null;
  };
  /** Optimizer steps. */
  readonly steps: number;
  /** Ids of a sequence; default 256. */
  readonly context?: number;
  /** Sequences of an optimizer step; default 8. */
  readonly batch?: number;
  /** Of these, how many run at once, which is part of what decides the bits; default: as many as the device has room for, of up to 4096 ids. */
  readonly together?: number;
  /** Of the data's order, default 1. */
  readonly seed?: number;
  /** Held-out text is measured before the first step, after every so many (default 50), and at the end; 0: never. */
  readonly evaluateEvery?: number;
  /** Of each source, at most; default 64. */
  readonly evaluateSequences?: number;
  /** Checkpoints are written after every so many steps (default 200), and at the end; 0: at the end alone. */
  readonly checkpointEvery?: number;
  /** What it writes each time that held-out text is measured, and at the end. */
  readonly samples?: SampleOptions;
  /** The load of experts is told of every so many steps; 0: never. Default: a hundred times in all. */
  readonly loadsEvery?: number;
  /** Go on from the last checkpoint in `out`. */
  readonly resume?: boolean;
  /** Also where what follows is not what an unbroken run would give. */
  readonly acceptChanged?: boolean;
}

export const TRAIN_RULES: Rules<TrainOptions> = {
  device: needed(object("a device, of `openDevice`", "gpu", "facts")),
  loaded: needed(object("a model with its weights, of `loadModel`", "model", "source", "checkpoint")),
  out: needed(text),
  data: needed(object("{ sources }", "sources")),
  steps: needed(whole(1)),
  context: whole(1),
  batch: whole(1),
  together: whole(1),
  seed: whole(0),
  evaluateEvery: whole(0),
  evaluateSequences: whole(1),
  checkpointEvery: whole(0),
  loadsEvery: whole(0),
  samples: members("what to write: { prompts }", SAMPLE_RULES),
  resume: flag,
  acceptChanged: flag,
  optimizer: text,
  rate: {
    allowed: "a number above 0, or an expression",
    accepts: (v) => (typeof v === "number" ? v > 0 && v < Infinity : text.accepts(v)),
  },
  schedule: text,
  clip: number(0),
  only: list(text, "a list of paths"),
  frozen: list(text, "a list of paths"),
  set: object("an object of objects: by path, texts by name"),
  signal,
};

/** With all defaults. */
export type SettledOptions = TrainOptions &
  Required<
    Pick<
      TrainOptions,
      "context" | "batch" | "seed" | "evaluateEvery" | "evaluateSequences" | "checkpointEvery" | "loadsEvery"
    >
  >;

export function withDefaults(options: TrainOptions): SettledOptions {
  return {
    context: 256,
    batch: 8,
    seed: 1,
    evaluateEvery: 50,
    evaluateSequences: 64,
    checkpointEvery: 200,
    loadsEvery: Math.max(1, Math.floor(options.steps / 100)),
    ...options,
  };
}

/** As `metrics.jsonl` and the report have them. */
export function settingsOf({
  steps,
  batch,
  context,
  seed,
  only = [],
  frozen = [],
  set = {},
  ...options
}: Omit<SettledOptions, "data">): RunRecord["settings"] {
  const { optimizer, rate, schedule, clip } = { ...optimizingDefaults(), ...options };
  const rules = Object.entries(set).flatMap(([path, values]) =>
    Object.entries(values).map(([name, value]) => [`${path}.${name}`, value] as const),
  );
  return {
    ...{ steps, batch, context, optimizer, rate, schedule, clip, seed },
    ...(only.length === 0 ? {} : { only: only.join(", ") }),
    ...(frozen.length === 0 ? {} : { frozen: frozen.join(", ") }),
    ...Object.fromEntries(rules),
  };
}
