/** A session held to the oracle: batches, pieces, several sequences at once. */
import { expect } from "vitest";
import { compileModel, type CompileModelOptions, type Model } from "../../compiler/index.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import type { Device } from "../../runtime/gpu/device.ts";
import { negativeLogLikelihood } from "../../runtime/session/score.ts";
import { openSession, type Session } from "../../runtime/session/session.ts";
import { maxDifference } from "./close.ts";
import { type Draw, drawWeights, type RandomWeights } from "./random-models.ts";

/** A session over a model with random weights, for three sequences; `use` gets it, the weights, and a way to draw token ids. */
export async function withRandomSession(
  device: Device,
  model: Model,
  { draw, ranges = {}, facts = {}, capacity = 64, ...more }: RandomSession,
  use: (session: Session, weights: RandomWeights, ids: (n: number) => number[]) => Promise<void>,
): Promise<void> {
  const weights = drawWeights(model, "f32", draw, ranges);
  const target = { ...device.facts, ...facts };
  const plan = compileModel(model, { device: target, storage: () => "f32", verify: true, ...more });
  const session = await openSession({ plan, device, source: weights.source, sequences: 3, capacity });
  try {
    await use(session, weights, (n) => Array.from({ length: n }, () => draw.below(session.vocab)));
  } finally {
    session.close();
  }
}

export interface RandomSession extends Pick<CompileModelOptions, "stepTokens" | "purpose" | "force"> {
  readonly draw: Draw;
  readonly ranges?: Parameters<typeof drawWeights>[3];
  readonly facts?: Partial<DeviceFacts>;
  readonly capacity?: number;
}

/** Of the largest logit. */
const tolerance = 1e-4;

/** Logits [tokens, vocab] of a sequence. */
export type Oracle = (ids: readonly number[]) => Float64Array;

/** Batches of whole sequences. */
export async function checkForward(
  session: Session,
  oracle: Oracle,
  batch: readonly (readonly number[])[],
  what: unknown,
): Promise<void> {
  const found = await session.forward(batch);
  batch.forEach((ids, i) => expectClose(found[i]!, oracle(ids), what));
}

/** What each token after the first costs, in nats. */
export async function checkScores(
  session: Session,
  oracle: Oracle,
  batch: readonly (readonly number[])[],
): Promise<void> {
  const found = await session.score(batch);
  batch.forEach((ids, i) => {
    const logits = oracle(ids);
    const row = (t: number) => Float32Array.from(logits.subarray(t * session.vocab, (t + 1) * session.vocab));
    const wanted = ids.slice(1).map((id, t) => negativeLogLikelihood(row(t), id));
    expectClose(found[i]!, Float64Array.from(wanted), "scores");
  });
}

/** Two sequences, one fed in two pieces and one whole, then a token to each at a time. */
export async function checkDecode(
  session: Session,
  oracle: Oracle,
  a: readonly number[],
  b: readonly number[],
  what: unknown,
  oracleOfB: Oracle = oracle,
): Promise<void> {
  const [full, other] = [oracle(a), oracleOfB(b)];
  const row = (logits: Float64Array, i: number) => logits.subarray(i * session.vocab, (i + 1) * session.vocab);
  const [start, begin] = [a.length - 4, b.length - 4];
  await session.prefill(2, a.slice(0, 3), { length: a.length });
  expectClose(session.logits(2), row(full, 2), what);
  await session.prefill(0, b.slice(0, begin), { length: b.length });
  await session.prefill(2, a.slice(3, start));
  expectClose(session.logits(0), row(other, begin - 1), what);
  expectClose(session.logits(2), row(full, start - 1), what);
  for (let i = 0; i < 4; i++) {
    await session.step([
      { slot: 2, id: a[start + i]! },
      { slot: 0, id: b[begin + i]! },
    ]);
    expectClose(session.logits(2), row(full, start + i), what);
    expectClose(session.logits(0), row(other, begin + i), what);
  }
  session.reset(0);
  session.reset(2);
}

export function expectClose(found: Float32Array, wanted: Float64Array, what: unknown): void {
  const scale = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  expect(maxDifference(found, wanted) / scale, JSON.stringify(what)).toBeLessThan(tolerance);
}
