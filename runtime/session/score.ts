/** How probable a model finds given tokens: by the plan's own `nll` where it has one, else from logits on the host. */
import { runFresh } from "./fresh.ts";
import type { Steps } from "./steps.ts";

/** Use `Session.score`; `check` is asked before each step. */
export async function score(
  steps: Steps,
  batch: readonly ArrayLike<number>[],
  check: () => void,
): Promise<Float32Array[]> {
  const results = batch.map((ids) => new Float32Array(Math.max(0, ids.length - 1)));
  // A sequence's last token has nothing to predict; its row is computed and dropped.
  const target = (sequence: number, token: number): number => batch[sequence]![token + 1] ?? 0;
  const { vocab } = steps;
  const onDevice = steps.has("nll");
  await runFresh(steps, {
    batch,
    output: onDevice ? "nll" : "logits",
    take: (values, rows) =>
      rows.forEach(({ sequence, token }, i) => {
        const result = results[sequence]!;
        if (token === result.length) return;
        result[token] = onDevice
          ? values[i]!
          : negativeLogLikelihood(values.subarray(i * vocab, (i + 1) * vocab), target(sequence, token));
      }),
    target: onDevice ? target : null,
    check,
  });
  return results;
}

/** In nats, summed in float64. */
export function negativeLogLikelihood(logits: Float32Array, target: number): number {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - top);
  return top + Math.log(sum) - logits[target]!;
}
