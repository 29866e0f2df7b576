/** How well the held-out text of each source is predicted, with the parameters as they are. */
import type { Batches } from "./data/batches.ts";
import type { DomainResult } from "./record.ts";
import { joinRows } from "./rows.ts";
import type { Trainer } from "./trainer.ts";

/** Over at most so many sequences of each source; sources without any are left out. `names` are those of the sources in order. */
export async function measureDomains(
  trainer: Trainer,
  data: Pick<Batches, "heldOut">,
  names: readonly string[],
  sequences: number,
): Promise<readonly DomainResult[]> {
  const results: DomainResult[] = [];
  for (const [source, name] of names.entries()) {
    let [sum, tokens] = [0, 0];
    for (const batch of data.heldOut(source, sequences)) {
      const { ids, target, counted } = joinRows(batch, trainer.sequences);
      const costs = await trainer.evaluate({ ids, target });
      for (const [i, weight] of counted.entries()) {
        if (weight === 0) continue;
        sum += weight * costs[i]!;
        tokens += weight;
      }
    }
    if (tokens > 0) results.push({ name, tokens, nll: sum / tokens, perplexity: Math.exp(sum / tokens) });
  }
  return results;
}
