/**
 * Optimizer steps one after another, as an iterator of what they come to. While the GPU works on a step the host prepares the next one, and
 * reads what the last one came to when that is there; a step that was not applied ends the run before anything follows it.
 *
 *     for await (const report of runSteps(trainer, data, { first: 1, last: 400, micros: 2, loadsEvery: 10 })) ...
 */
import { RATE } from "../../compiler/index.ts";
import { evaluateScalar } from "../../compiler/plan/scalar.ts";
import type { HostValues } from "../../compiler/plan/plan.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import type { Batch, Batches } from "./data/batches.ts";
import { describeNotFinite } from "./not-finite.ts";
import { joinRows } from "./rows.ts";
import type { StepReport, Trainer } from "./trainer.ts";

export interface StepOptions extends AbortOptions {
  /** Steps count from 1. */
  readonly first: number;
  readonly last: number;
  /** Of the whole run, which schedules are made for. */
  readonly steps: number;
  /** Micro-batches of a step. */
  readonly micros: number;
  /** Every so many steps the step's metrics are read; 0: never. */
  readonly metricsEvery: number;
  /** After a step that this says yes to, everything has been read before the next one begins. */
  readonly pauseAfter: (step: number) => boolean;
  /** Where the last checkpoint is, for whoever is told that a step failed. */
  readonly lastCheckpoint?: () => string | null;
}

export interface StepResult extends StepReport {
  readonly step: number;
  /** Learning rate of the step. */
  readonly rate: number;
  /** Ids of the step. */
  readonly tokens: number;
  /** Since the step before was done. */
  readonly seconds: number;
}

/** Throws `train/not-finite` at a step whose gradients are not finite: what is kept and trained is then as the step before left it. */
export async function* runSteps(
  trainer: Trainer,
  data: Pick<Batches, "next">,
  { first, last, steps, micros, metricsEvery, pauseAfter, lastCheckpoint = () => null, signal }: StepOptions,
): AsyncGenerator<StepResult> {
  let before = performance.now();
  let pending: Pending | null = null;
  const settle = async (): Promise<StepResult | null> => {
    if (pending === null) return null;
    const { step, host, batches, tokens, take } = pending;
    pending = null;
    const report = await take();
    if (!report.applied) throw await describeNotFinite(trainer, step, host, batches, lastCheckpoint());
    const now = performance.now();
    const result = { ...report, step, rate: rateAt(trainer, host), tokens, seconds: (now - before) / 1000 };
    before = now;
    return result;
  };
  for (let step = first; step <= last; step++) {
    checkAborted("train", signal);
    const batches = Array.from({ length: micros }, (_, micro) => data.next(step, micro));
    const host = {
      step,
      steps,
      tokens: Math.max(1, countTokens(batches)),
      micro: micros,
      drawn: (step - 1) * micros * trainer.sequences,
    };
    // The queue keeps the order: these numbers are read after the step before has run.
    trainer.begin(host);
    for (const batch of batches) await trainer.micro(joinRows(batch));
    const done = await settle();
    if (done !== null) yield done;
    const take = await trainer.update(metricsEvery > 0 && step % metricsEvery === 0);
    pending = { step, host, batches, tokens: idsOf(batches), take };
    if (!pauseAfter(step) && step !== last) continue;
    const now = await settle();
    if (now !== null) yield now;
    before = performance.now();
  }
}

interface Pending {
  readonly step: number;
  readonly host: HostValues;
  readonly batches: readonly Batch[];
  readonly tokens: number;
  readonly take: () => Promise<StepReport>;
}

function countTokens(batches: readonly Batch[]): number {
  return batches.reduce((n, { counted }) => n + counted.reduce((m, row) => m + row.reduce((a, x) => a + x, 0), 0), 0);
}

function idsOf(batches: readonly Batch[]): number {
  return batches.reduce((n, { ids }) => n + ids.reduce((m, row) => m + row.length, 0), 0);
}

function rateAt({ plan }: Trainer, host: HostValues): number {
  const scalar = plan.scalars.find((s) => s.id === RATE);
  return scalar === undefined ? Number.NaN : evaluateScalar(scalar.expr, host);
}
