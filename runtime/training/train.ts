/**
 * A training run in a folder: data, plan, optimizer steps, what is measured on the way, checkpoints, and going on from the last one to the
 * same bits.
 *
 *     const run = await openTraining({ device, loaded, out: "run", data: { sources }, steps: 400 });
 *     console.log(run.memory.total);               // before anything is allocated
 *     for await (const event of run.events()) ...  // records of `metrics.jsonl`, checkpoints, samples
 *     await run.close();
 */
import { join } from "node:path";
import { compileTraining, splitMetric, type TrainingPlan } from "../../compiler/index.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { checkOptions } from "../../grammar/option.ts";
import { bytesOf } from "../gpu/buffers.ts";
import type { Lock } from "../files/lock.ts";
import type { Device } from "../gpu/device.ts";
import { type ParameterSource, uploadParameters } from "../gpu/parameters.ts";
import type { LoadedModel } from "../model/model.ts";
import { nameAdapter, hashPlan, writeTrainingCheckpoint } from "./checkpoint.ts";
import { checkTrainingFolder, lockTraining } from "./checkpoint-folder.ts";
import { openData, type SourceFacts, type TrainingData } from "./corpus/open-data.ts";
import { runSteps, type StepResult } from "./loop.ts";
import { measureDomains } from "./measure.ts";
import { openWorkspace } from "../load/modules.ts";
import { readOptimizing } from "./optimizing.ts";
import { settingsOf, type SettledOptions, TRAIN_RULES, type TrainOptions, withDefaults } from "./train-options.ts";
import { memoryOf, type TrainingMemory } from "./memory.ts";
import { openMetrics } from "./metrics-file.ts";
import type { EvaluationRecord, LoadRecord, RunRecord, StepRecord, TrainingRecord } from "./record.ts";
import { checkSame, readTrainingCheckpoint, type StoredTraining } from "./resume.ts";
import { openSampling, type Sampling, writeSamples } from "./samples.ts";
import { Trainer } from "./trainer.ts";

export type TrainingEvent =
  TrainingRecord | { readonly kind: "checkpoint"; readonly step: number; readonly path: string };

export interface TrainingRun {
  readonly plan: Plan;
  readonly memory: TrainingMemory;
  readonly sources: readonly SourceFacts[];
  /** Parameters in all, and those that are trained. */
  readonly parameters: number;
  readonly trained: number;
  /** Sequences that run at once, and how often that is for a step. */
  readonly sequences: number;
  readonly micros: number;
  /** Steps that are done already. */
  readonly done: number;
  /** What differs from the run that is gone on with, where that was accepted. */
  readonly differences: readonly string[];
  /** Runs the steps that are left. To be asked for once. */
  events(): AsyncGenerator<TrainingEvent>;
  close(): Promise<void>;
}

/** Throws `train/*`, `checkpoint/*`, `device/*`, and what opening the data throws. */
export async function openTraining(given: TrainOptions): Promise<TrainingRun> {
  checkOptions("openTraining", given, TRAIN_RULES);
  const options = withDefaults(given);
  const { out, loaded, device, resume = false } = options;
  const stored = resume ? await readTrainingCheckpoint(out) : null;
  if (stored === null) checkTrainingFolder(out, loaded);
  let data: TrainingData | null = null;
  let lock: Lock | null = null;
  const close = async (): Promise<void> => {
    data?.close();
    lock?.release();
    await stored?.close();
  };
  try {
    const { context, batch, seed } = options;
    const { plan, trained, vocabulary, sequences } = chooseTogether(options);
    const micros = batch / sequences;
    const going = { plan: hashPlan(plan), adapter: nameAdapter(device.adapter) };
    const differences = stored === null ? [] : checkSame(stored, going, options.acceptChanged);
    lock = lockTraining(out);
    data = await openData({
      tokenizer: loaded.checkpoint.path,
      ...options.data,
      ...{ vocabulary, cache: join(out, "tokens"), context, sequences, micros, seed, signal: options.signal },
    });
    if (stored !== null) data.restore(stored.record.data as never);
    const sampling =
      options.samples === undefined
        ? null
        : await openSampling(options.samples, loaded, options.data.tokenizer ?? loaded.checkpoint.path, device);
    const own = { ...options, plan, data, stored, going, sequences, micros, sampling };
    return {
      plan,
      memory: memoryOf(plan, { T: context, Q: context, S: 1, P: context }, sampling?.bytes),
      sources: data.sources,
      parameters: countParameters(loaded, () => true),
      trained: countParameters(loaded, (path) => trained.includes(path)),
      sequences,
      micros,
      done: stored?.record.step ?? 0,
      differences,
      events: () => runEvents(own),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Ids of a micro-batch beyond which running more at once gains little. */
const MOST_IDS = 4096;

/** The plan for as many sequences at once as are asked for, or fit. Throws `train/bad-batch` where they do not divide a step's. */
function chooseTogether({ loaded, device, batch, together, context, ...options }: SettledOptions): TrainingPlan & {
  readonly sequences: number;
} {
  const optimizing = readOptimizing(openWorkspace(), loaded.model, options);
  const compile = (sequences: number): TrainingPlan & { readonly sequences: number } => ({
    ...compileTraining(loaded.model, { device: device.facts, sequences, ...optimizing, metrics: [LOAD] }),
    sequences,
  });
  if (together !== undefined && batch % together !== 0)
    throw failure("train/uneven-batch", `${together} sequences at once do not divide the ${batch} of a step`, {
      help: "choose a divisor, so that all micro-batches are alike",
    });
  const divisors = Array.from({ length: batch }, (_, i) => batch - i).filter((n) => batch % n === 0);
  const candidates = together !== undefined ? [together] : divisors.filter((n) => n === 1 || n * context <= MOST_IDS);
  for (const sequences of candidates) {
    const made = compile(sequences);
    if (sequences === candidates.at(-1) || fits(made.plan, device, context)) return made;
  }
  throw new Error("there is no way to divide a step");
}

function fits(plan: Plan, { facts }: Device, context: number): boolean {
  const limit = Math.min(facts.maxBinding, facts.maxBuffer);
  const sizes = { T: context, Q: context, S: 1, P: context };
  return plan.buffers.every((buffer) => bytesOf(buffer, sizes) <= limit);
}

/** What routers count. */
const LOAD = "expert_load";

interface Opened extends Omit<SettledOptions, "data"> {
  readonly sequences: number;
  readonly micros: number;
  readonly plan: Plan;
  readonly data: TrainingData;
  readonly sampling: Sampling | null;
  readonly stored: StoredTraining | null;
  readonly going: { readonly plan: string; readonly adapter: string };
}

async function* runEvents(run: Opened): AsyncGenerator<TrainingEvent> {
  const { device, plan, loaded, stored, steps, context, sequences, data, out } = run;
  const done = stored?.record.step ?? 0;
  const source: ParameterSource = stored === null ? loaded.source : sourceOf(stored);
  const metrics = openMetrics(join(out, "metrics.jsonl"), done);
  const uploaded = await uploadParameters(device, plan, source, run.signal === undefined ? {} : { signal: run.signal });
  const trainer = await Trainer.open(device, plan, uploaded, { sequences, tokens: context });
  const told = <R extends TrainingRecord>(record: R): R => {
    metrics.write(record);
    return record;
  };
  try {
    if (stored !== null)
      for (const { state, path } of trainer.states)
        trainer.writeState(state, path, Float32Array.from(await stored.state(`${state}.${path}`)));
    yield told(runRecord(run, done));
    const isDue = (step: number, every: number): boolean => step === steps || (every > 0 && step % every === 0);
    const evaluates = run.evaluateEvery > 0;
    const measure = async function* (step: number): AsyncGenerator<TrainingEvent> {
      if (evaluates) yield told(await evaluate(trainer, run, step));
      if (run.sampling !== null) yield told(await writeSamples(trainer, run.sampling, loaded, device, step));
    };
    if (done === 0) yield* measure(0);
    let checkpoint = stored?.path ?? null;
    let total = done * context * sequences * run.micros;
    const iterator = runSteps(trainer, data, {
      first: done + 1,
      last: steps,
      steps,
      micros: run.micros,
      metricsEvery: run.loadsEvery,
      pauseAfter: (step) => isDue(step, run.evaluateEvery) || isDue(step, run.checkpointEvery),
      lastCheckpoint: () => checkpoint,
      signal: run.signal,
    });
    for await (const result of iterator) {
      total += result.tokens;
      yield told(stepRecord(result, total));
      const load = loadRecord(result);
      if (load !== null) yield told(load);
      if (isDue(result.step, run.evaluateEvery)) yield* measure(result.step);
      if (!isDue(result.step, run.checkpointEvery)) continue;
      await metrics.flush();
      checkpoint = await writeStep(trainer, run, result.step);
      yield { kind: "checkpoint", step: result.step, path: checkpoint };
    }
  } finally {
    metrics.close();
    trainer.destroy();
  }
}

/** A checkpoint's parameters as they were trained, in f32. */
function sourceOf(stored: StoredTraining): ParameterSource {
  return {
    storage: () => "f32",
    read: async (path, start, length) => {
      const values = (await stored.parameter(path)).slice(start, start + length);
      return new Uint8Array(values.buffer);
    },
  };
}

async function writeStep(trainer: Trainer, run: Opened, step: number): Promise<string> {
  const { loaded, out, seed, going, data } = run;
  const { path } = await writeTrainingCheckpoint(out, {
    loaded,
    record: {
      step,
      seed,
      ...going,
      data: data.state() as never,
      accumulators: {},
      run: { settings: settingsOf(run) },
    },
    parameter: (of) => trainer.readParameter(of),
    states: trainer.states.map(({ state, path: of }) => ({
      state,
      path: of,
      read: () => trainer.readState(state, of),
    })),
  });
  return path;
}

async function evaluate(
  trainer: Trainer,
  { data, evaluateSequences }: Opened,
  step: number,
): Promise<EvaluationRecord> {
  const names = data.sources.map((s) => s.name);
  return { kind: "evaluation", step, domains: await measureDomains(trainer, data, names, evaluateSequences) };
}

function runRecord(run: Opened, step: number): RunRecord {
  const { loaded, steps, data } = run;
  const settings = settingsOf(run);
  const parameters = countParameters(loaded, () => true);
  const sources = data.sources.map(({ name, share, tokens, heldOut }) => ({ name, share, tokens, heldOut }));
  return { kind: "run", step, steps, model: loaded.model.name, parameters, settings, sources };
}

function stepRecord({ step, loss, terms, norm, rate, tokens, seconds }: StepResult, total: number): StepRecord {
  return { kind: "step", step, loss, terms, norm, rate, tokens, total, seconds, tokensPerSecond: tokens / seconds };
}

function loadRecord({ step, metrics }: StepResult): LoadRecord | null {
  const layers = [...metrics].map(([name, values]) => ({ part: splitMetric(name).part, load: [...values] }));
  return layers.length === 0 ? null : { kind: "load", step, layers };
}

function countParameters({ model }: LoadedModel, wanted: (path: string) => boolean): number {
  return model.parameters.reduce((n, p) => n + (wanted(p.path) ? p.axes.reduce((m, a) => m * a.size, 1) : 0), 0);
}
