/**
 * Metrics of whole texts: what `metric` statements say, computed on the device beside the layers that say it, by the
 * plan's entry `metrics`. A metric with a value per token is collected token by token; any other is a sum over tokens, of
 * which each step gives its part, and the parts are added up here in float64.
 */
import { type Buffer, evaluateSize, type Plan, type Size, symbolsOf, widthOf } from "../../compiler/plan/plan.ts";
import { LIKELIHOOD } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import {
  callback,
  checkOption,
  checkOptions,
  needed,
  type Rules,
  sequences,
  signal as signalRule,
} from "../../grammar/option.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import { packSteps, type Stretch } from "./feed.ts";
import type { Session } from "./session.ts";
import type { Steps } from "./steps.ts";

export interface Metric {
  /** `blocks[3].expert_load`: the part of the model, and the name that its `metric` statement gives. */
  readonly name: string;
  readonly perToken: boolean;
  /** Numbers of one token, or of the whole. */
  readonly width: number;
  /** Row-major: [tokens, width] in the order of the texts, or [width]. */
  readonly data: Float64Array;
}

export interface MetricOptions extends AbortOptions {
  /** Hears how many sequences are done. */
  readonly onProgress?: ((sequences: number) => void) | undefined;
}

const METRIC_RULES: Rules<MetricOptions> = { onProgress: callback, signal: signalRule };

/**
 * The plan's metrics over sequences, each from its start and alone. Takes over slot 0 of the session. Throws `session/no-output` when
 * the plan was compiled without metrics, `session/not-finite` when one of them, or what the model makes of the text, is NaN or
 * infinite, and what `Session.score` throws of its input.
 */
export async function collectMetrics(
  session: Session,
  batch: readonly ArrayLike<number>[],
  options: MetricOptions = {},
): Promise<readonly Metric[]> {
  checkOption("collectMetrics", "batch", batch, needed(sequences));
  checkOptions("collectMetrics", options, METRIC_RULES);
  let tokens = 0;
  const starts = batch.map((ids) => (tokens += ids.length) - ids.length);
  const found = new Map<string, Metric>();
  await visitMetrics(
    session,
    batch,
    ({ name, perToken, width }, values, sequence, token) => {
      const length = perToken ? tokens * width : width;
      const metric = found.get(name) ?? { name, perToken, width, data: new Float64Array(length) };
      found.set(name, metric);
      if (perToken) metric.data.set(values, (starts[sequence]! + token) * width);
      else values.forEach((value, at) => (metric.data[at]! += value));
    },
    options,
  );
  return [...found.values()];
}

/** Of a metric with a value per token those of some tokens of a sequence, [tokens, width], from `token` on; of another the part of these tokens. */
export type VisitMetric = (
  metric: Omit<Metric, "data">,
  values: Float32Array | Uint32Array | Int32Array,
  sequence: number,
  token: number,
) => void;

export interface VisitOptions extends MetricOptions {
  /** Values that are NaN or infinite are what is looked for, and no error. */
  readonly isTrace?: boolean;
}

/** The same, step by step as they are computed, for whoever does not keep them all. */
export async function visitMetrics(
  session: Session,
  batch: readonly ArrayLike<number>[],
  visit: VisitMetric,
  options: VisitOptions = {},
): Promise<void> {
  await session.exclusively("collectMetrics", (steps) => visitSteps(steps, batch, visit, options));
}

async function visitSteps(
  steps: Steps,
  batch: readonly ArrayLike<number>[],
  visit: VisitMetric,
  { onProgress = () => {}, signal, isTrace = false }: VisitOptions,
): Promise<void> {
  const { plan, buffers } = steps.executor;
  const whole = steps.isWhole("metrics");
  const entry = steps.entryFor("metrics", Number.POSITIVE_INFINITY, whole);
  const outputs = entry.outputs.map((id) => plan.buffers.find((b) => b.id === id)!);
  const metrics = outputs.map(({ name, elements }) => {
    return { name, perToken: hasTokens(elements), width: widthOf(elements) };
  });
  const most = steps.mostTokens((T) => T);
  try {
    for (const [sequence, ids] of batch.entries()) {
      let token = 0;
      const stretch: Stretch = { slot: 0, start: 0, length: ids.length, ids };
      steps.reset(0);
      await steps.admit([stretch]);
      for (const input of packSteps([stretch], whole ? ids.length : most, "all")) {
        checkAborted("collectMetrics", signal);
        const { name, sizes } = await steps.load("metrics", input, new Uint32Array(input.ids.length), whole);
        const reads = outputs.map(({ id, elements }) =>
          steps.staging.read(buffers.find({ kind: "buffer", id }).buffer, evaluateSize(elements, sizes) * 4),
        );
        await steps.executor.run(name, sizes, reads);
        const rows = Uint32Array.from(input.ids, (_, row) => row);
        for (const [i, metric] of metrics.entries()) {
          const values = valuesOf(outputs[i]!, await reads[i]!.take());
          if (values instanceof Float32Array && !isTrace)
            steps.checkFinite(metric.name, values, input, metric.perToken ? rows : rows.subarray(-1));
          // The likelihood is there to be looked at: choices of experts are whole numbers, whatever became of the rest.
          if (metric.name !== LIKELIHOOD) visit(metric, values, sequence, token);
        }
        token += sizes.T;
      }
      onProgress(sequence + 1);
    }
  } finally {
    steps.reset(0);
  }
}

export function noMetric({ model }: Plan, name: string): Error {
  return failure("session/no-metric", `no part of \`${model}\` declares a metric \`${name}\``, {
    help: `write \`metric ${name} = ...\` in its routers; a model without routers has nothing to show`,
  });
}

function hasTokens(size: Size): boolean {
  return symbolsOf(size).includes("T");
}

function valuesOf({ type }: Buffer, bytes: ArrayBuffer): Float32Array | Uint32Array | Int32Array {
  switch (type) {
    case "f32":
      return new Float32Array(bytes);
    case "u32":
      return new Uint32Array(bytes);
    case "i32":
      return new Int32Array(bytes);
  }
}
