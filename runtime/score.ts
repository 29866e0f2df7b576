/** How probable a model finds given tokens: by the plan's own `nll` where it has one, else from logits on the host. */
import type { Session } from "./session.ts";

/** Use `Session.score`. */
export async function score(session: Session, batch: readonly ArrayLike<number>[]): Promise<Float32Array[]> {
  const results = batch.map((ids) => new Float32Array(Math.max(0, ids.length - 1)));
  // A sequence's last token has nothing to predict; its row is computed and dropped.
  const target = (sequence: number, token: number): number => batch[sequence]![token + 1] ?? 0;
  const onDevice = session.has("nll");
  await session.runFresh(
    batch,
    onDevice ? "nll" : "logits",
    (values, rows) =>
      rows.forEach(({ sequence, token }, i) => {
        const result = results[sequence]!;
        if (token === result.length) return;
        const { vocab } = session;
        result[token] = onDevice
          ? values[i]!
          : negativeLogLikelihood(values.subarray(i * vocab, (i + 1) * vocab), target(sequence, token));
      }),
    onDevice ? target : null,
  );
  return results;
}

/** In nats, summed in float64. */
export function negativeLogLikelihood(logits: Float32Array, target: number): number {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - top);
  return top + Math.log(sum) - logits[target]!;
}
