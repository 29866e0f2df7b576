/** What the demo measures of its models: how well each predicts texts of each domain, and to which experts those texts go. */
import { join } from "node:path";
import { paint, startProgress, table } from "../cli/output.ts";
import { open, openDevice, type Session } from "../runtime/index.ts";
import { loadTokens } from "../runtime/load/load-tokens.ts";
import { ROUTING_METRICS, traceRouting } from "../runtime/session/routing.ts";

export interface Subject {
  readonly name: string;
  readonly path: string;
  /** Whether it has experts to look at. */
  readonly isMixture?: true;
}

export interface Score {
  readonly name: string;
  /** By domain, in the order that they were given in. */
  readonly perplexities: readonly number[];
  /** By domain: the share of tokens that go to each expert, over all layers. A token goes to several. */
  readonly shares: readonly (readonly number[])[] | null;
}

export interface Texts {
  /** `NAME.bin` in `folder`, token ids. */
  readonly folder: string;
  readonly domains: readonly string[];
  /** Sequences of this many tokens, and how many of them per text. */
  readonly context: number;
  readonly sequences: number;
}

export async function score(models: readonly Subject[], texts: Texts): Promise<readonly Score[]> {
  const { folder, domains, context, sequences } = texts;
  const batches = await Promise.all(
    domains.map(async (d) => {
      const ids = await loadTokens(join(folder, `${d}.bin`), { format: "uint16" });
      return Array.from({ length: sequences }, (_, i) => ids.subarray(i * context, (i + 1) * context));
    }),
  );
  const device = await openDevice();
  const bar = startProgress("scoring", models.length * domains.length);
  let done = 0;
  const scores: Score[] = [];
  for (const { name, path, isMixture = false } of models) {
    const metrics = isMixture ? { metrics: ROUTING_METRICS } : {};
    const session = await open(path, { device, capacity: context, sequences: 2, ...metrics });
    const perplexities: number[] = [];
    const shares: (readonly number[])[] = [];
    for (const batch of batches) {
      const costs = (await session.score(batch)).flatMap((s) => [...s]);
      perplexities.push(Math.exp(costs.reduce((a, b) => a + b, 0) / costs.length));
      if (isMixture) shares.push(await shareOf(session, batch.slice(0, 16)));
      bar.advance(++done);
    }
    scores.push({ name, perplexities, shares: isMixture ? shares : null });
    session.close();
  }
  bar.end();
  device.close();
  return scores;
}

/** The share of tokens that go to each expert, over all layers. */
async function shareOf(session: Session, batch: readonly ArrayLike<number>[]): Promise<readonly number[]> {
  const { layers, tokens } = await traceRouting(session, batch);
  return layers[0]!.load.map((_, n) => layers.reduce((sum, { load }) => sum + load[n]!, 0) / (layers.length * tokens));
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

export function printScores(scores: readonly Score[], domains: readonly string[]): string {
  const rows = scores.map(({ name, perplexities }) => [
    name,
    ...perplexities.map((p) => p.toFixed(2)),
    paint.bold(mean(perplexities).toFixed(2)),
  ]);
  return table([["model", ...domains, "mean"], ...rows], [1, 2, 3, 4, 5]);
}

const BLOCKS = ["░", "▒", "▓", "█"] as const;

/** A row per domain, a column per expert: the darker the more. */
export function printShares({ shares }: Score, domains: readonly string[], experts: readonly string[]): string {
  const cell = (share: number): string =>
    `${BLOCKS[Math.min(3, Math.floor(share * 4))]!.repeat(4)} ${(100 * share).toFixed(0).padStart(3)} %`;
  const rows = shares!.map((row, i) => [domains[i]!, ...row.map(cell)]);
  return table([["text", ...experts.map((e) => `expert ${e}`)], ...rows]);
}
