/**
 * Where tokens went: what the routers of a model say of themselves over given texts. The contract is the names of their
 * metrics. `expert_load` [N] counts the tokens of each expert; `expert` [T, K] is each token's choice, the best first, and
 * may be missing (a dense router has none).
 */
import { splitMetric } from "../../compiler/index.ts";
import { collectMetrics, type MetricOptions, noMetric } from "./metrics.ts";
import type { Session } from "./session.ts";

const LOAD = "expert_load";
const CHOICE = "expert";

/** What to open a session with, as its `metrics`. */
export const ROUTING_METRICS: readonly string[] = [LOAD, CHOICE];

/** How evenly one router used its experts. */
export interface LayerLoad {
  /** `blocks[3]`: the part of the model; empty for a model that is one layer. */
  readonly part: string;
  /** Tokens per expert; in dense routing sums of weights. */
  readonly load: readonly number[];
  /** Of the shares, over that of equal shares: 1 is even, 0 is one expert for all. */
  readonly entropy: number;
  /** The load of the busiest expert over the mean. */
  readonly maxOverMean: number;
  /** Experts that no token met. */
  readonly dead: readonly number[];
}

export interface Choices {
  readonly part: string;
  /** Experts per token. */
  readonly perToken: number;
  /** [tokens, perToken], in the order of the texts. */
  readonly experts: Float64Array;
}

export interface Routing {
  readonly tokens: number;
  readonly layers: readonly LayerLoad[];
  readonly choices: readonly Choices[];
}

/** Routes sequences, each from its start and alone. Throws `session/no-metric` when no router counts its load. */
export async function traceRouting(
  session: Session,
  batch: readonly ArrayLike<number>[],
  options: MetricOptions = {},
): Promise<Routing> {
  const metrics = await collectMetrics(session, batch, options);
  const named = metrics.map((m) => ({ ...m, ...splitMetric(m.name) }));
  const layers = named.flatMap((m) => (m.metric === LOAD && !m.perToken ? [describeLoad(m.part, [...m.data])] : []));
  if (layers.length === 0) throw noMetric(session.executor.plan, LOAD);
  const choices = named.flatMap(({ part, metric, perToken, width, data }) =>
    metric === CHOICE && perToken ? [{ part, perToken: width, experts: data }] : [],
  );
  return { tokens: batch.reduce((n, ids) => n + ids.length, 0), layers, choices };
}

/** An expert's share of the load, 0 to 1; 0 for all when nothing was routed. */
export function sharesOf(load: readonly number[]): readonly number[] {
  const total = load.reduce((a, b) => a + b, 0);
  return load.map((n) => (total === 0 ? 0 : n / total));
}

export function describeLoad(part: string, load: readonly number[]): LayerLoad {
  const shares = sharesOf(load);
  const entropy = shares.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
  const dead = load.flatMap((n, expert) => (n === 0 ? [expert] : []));
  const even = load.length === 1 ? 1 : entropy / Math.log(load.length);
  return { part, load, entropy: even, maxOverMean: Math.max(...shares) * load.length, dead };
}
