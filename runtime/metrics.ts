/**
 * Metrics of whole texts: what `metric` statements say, computed on the device beside the layers that say it, by the
 * plan's entry `metrics`. A metric with a value per token is collected token by token; any other is a sum over tokens, of
 * which each step gives its part, and the parts are added up here in float64.
 */
import { type Buffer, evaluateSize, type Plan, type Size } from "../compiler/plan/plan.ts";
import { failure } from "../grammar/diagnostic.ts";
import { packSteps, type Stretch } from "./feed.ts";
import type { Session } from "./session.ts";

export interface Metric {
  /** `blocks[3].expert_load`: the part of the model, and the name that its `metric` statement gives. */
  readonly name: string;
  readonly perToken: boolean;
  /** Numbers of one token, or of the whole. */
  readonly width: number;
  /** Row-major: [tokens, width] in the order of the texts, or [width]. */
  readonly data: Float64Array;
}

/**
 * The plan's metrics over sequences, each from its start and alone. Takes over slot 0 of the session. Throws
 * `session/no-output` when the plan was compiled without metrics, and what `Session.admit` throws.
 */
export async function collectMetrics(
  session: Session,
  batch: readonly ArrayLike<number>[],
  onProgress: (sequences: number) => void = () => undefined,
): Promise<readonly Metric[]> {
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
    onProgress,
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

/** The same, step by step as they are computed, for whoever does not keep them all. */
export async function visitMetrics(
  session: Session,
  batch: readonly ArrayLike<number>[],
  visit: VisitMetric,
  onProgress: (sequences: number) => void = () => undefined,
): Promise<void> {
  const { plan, buffers } = session.executor;
  const whole = session.isWhole("metrics");
  const entry = session.entryFor("metrics", Number.POSITIVE_INFINITY, whole);
  const outputs = entry.outputs.map((id) => plan.buffers.find((b) => b.id === id)!);
  const metrics = outputs.map(({ name, elements }) => {
    return { name, perToken: hasTokens(elements), width: evaluateSize(elements, { T: 1, Q: 1, S: 1, P: 1 }) };
  });
  const most = session.mostTokens((T) => T);
  for (const [sequence, ids] of batch.entries()) {
    let token = 0;
    const stretch: Stretch = { slot: 0, start: 0, length: ids.length, ids };
    session.reset(0);
    await session.admit([stretch]);
    for (const input of packSteps([stretch], whole ? ids.length : most, "all")) {
      const { name, sizes } = await session.load("metrics", input, null, whole);
      const reads = outputs.map(({ id, elements }) =>
        session.staging.read(buffers.find({ kind: "buffer", id }).buffer, evaluateSize(elements, sizes) * 4),
      );
      await session.executor.run(name, sizes, reads);
      for (const [i, metric] of metrics.entries())
        visit(metric, valuesOf(outputs[i]!, await reads[i]!.take()), sequence, token);
      token += sizes.T;
    }
    onProgress(sequence + 1);
  }
  session.reset(0);
}

export function noMetric({ model }: Plan, name: string): Error {
  return failure("session/no-metric", `no part of \`${model}\` declares a metric \`${name}\``, {
    help: `write \`metric ${name} = ...\` in its routers; a model without routers has nothing to show`,
  });
}

function hasTokens(size: Size): boolean {
  const at = (T: number): number => evaluateSize(size, { T, Q: 1, S: 1, P: 1 });
  return at(2) !== at(1);
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
