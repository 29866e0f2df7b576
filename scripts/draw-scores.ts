/** The demo's scores as a picture: a table of perplexities, and beside it a heat map of which experts each domain goes to. */
import { mean, type Score } from "./demo-scores.ts";

const [ROW, TOP, NAME, COLUMN] = [26, 64, 190, 62];
const [CELL_WIDTH, CELL_HEIGHT] = [64, 40];

/** The last score is that of the mixture whose experts are shown. */
export function drawScores(scores: readonly Score[], domains: readonly string[], experts: readonly string[]): string {
  const best = [...domains.map((_, i) => Math.min(...scores.map((s) => s.perplexities[i]!)))];
  const bestMean = Math.min(...scores.map((s) => mean(s.perplexities)));
  const number = (value: number, column: number, y: number, isBest: boolean): string =>
    text(24 + NAME + column * COLUMN, y, isBest ? "cell best" : "cell", value.toFixed(2));
  const head = [...domains, "mean"].map((name, i) => text(24 + NAME + i * COLUMN, TOP, "head end", name));
  const rows = scores.flatMap(({ name, perplexities }, i) => {
    const y = TOP + (i + 1) * ROW;
    const average = mean(perplexities);
    return [
      text(24, y, i === scores.length - 1 ? "name best" : "name", name),
      ...perplexities.map((p, d) => number(p, d, y, p === best[d])),
      number(average, domains.length, y, average === bestMean),
    ];
  });
  const left = 24 + NAME + domains.length * COLUMN + 130;
  const { shares } = scores.at(-1)!;
  const map = shares!.flatMap((row, i) => {
    const y = TOP + 12 + i * (CELL_HEIGHT + 3);
    return [
      text(left - 8, y + CELL_HEIGHT / 2 + 5, "head end", domains[i]!),
      ...row.flatMap((share, n) => {
        const x = left + n * (CELL_WIDTH + 3);
        return [
          `<rect x="${x}" y="${y}" width="${CELL_WIDTH}" height="${CELL_HEIGHT}" rx="4" class="heat" fill-opacity="${(0.06 + 0.94 * share).toFixed(3)}"/>`,
          text(
            x + CELL_WIDTH / 2,
            y + CELL_HEIGHT / 2 + 5,
            share > 0.55 ? "share strong" : "share",
            `${(100 * share).toFixed(0)} %`,
          ),
        ];
      }),
    ];
  });
  const names = experts.map((name, n) => text(left + n * (CELL_WIDTH + 3) + CELL_WIDTH / 2, TOP, "head middle", name));
  const width = left + Math.max(330, experts.length * (CELL_WIDTH + 3) + 24);
  const height = Math.max(TOP + (scores.length + 1) * ROW, TOP + 12 + domains.length * (CELL_HEIGHT + 3) + 24);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Perplexities of the demo's models, and the share of each expert in texts of each domain">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .head { fill: #59636e }
  .end, .cell { text-anchor: end }
  .middle, .share { text-anchor: middle }
  .cell { font-variant-numeric: tabular-nums }
  .best { font-weight: 700 }
  .heat { fill: #0969da }
  .strong { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .head { fill: #9198a1 }
    .heat { fill: #4493f8 }
    .strong { fill: #0d1117 }
  }
</style>
${text(24, 28, "title", "Perplexity on four kinds of text")}
${text(left, 28, "title", "Share of tokens that each expert gets")}
${[...head, ...names, ...rows, ...map].join("\n")}
</svg>
`;
}

const text = (x: number, y: number, kind: string, words: string): string =>
  `<text x="${x}" y="${y}" class="${kind}">${words}</text>`;
