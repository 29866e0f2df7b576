/** Routing on a terminal: a table of layers with small bars, and the first tokens with their experts. */
import { stripVTControlCharacters } from "node:util";
import { sharesOf } from "../../../runtime/session/routing.ts";
import { humanCount, paint, plural, table } from "../../output.ts";
import type { RoutedText, StripToken } from "./routed-text.ts";

/** Up to so many experts have a column of their own; more are one block each. */
const COLUMNS = 6;
const BAR = 6;
const EIGHTHS = " ▏▎▍▌▋▊▉█";
const LEVELS = "▁▂▃▄▅▆▇█";
/** One per expert, over and over. */
const COLORS = [paint.cyan, paint.yellow, paint.magenta, paint.green, paint.blue, paint.red];

/** `width`: columns of the terminal, for how many layers of the first `tokens` tokens fit. */
export function describeRouting(
  { file, sequences, routing, strip }: RoutedText,
  tokens: number,
  width: number,
): string {
  const { layers } = routing;
  const most = Math.max(...layers.flatMap((l) => sharesOf(l.load)));
  const experts = Math.max(...layers.map((l) => l.load.length));
  const wide = experts <= COLUMNS;
  const loads = wide ? Array.from({ length: experts }, (_, n) => colorOf(n)(`expert ${n}`)) : ["load per expert"];
  const rows = layers.map(({ part, load, entropy, maxOverMean, dead }) => {
    const shares = sharesOf(load);
    return [
      part === "" ? "model" : part,
      ...(wide
        ? pad(
            shares.map((share, n) => describeShare(share, most, n)),
            experts,
          )
        : [drawLevels(shares, most)]),
      entropy.toFixed(3),
      maxOverMean.toFixed(2),
      dead.length === 0 ? "0" : paint.red(String(dead.length)),
    ];
  });
  const head = ["layer", ...loads, "entropy", "max : mean", "dead"].map(paint.bold);
  const numbers = [0, 1, 2].map((i) => 1 + loads.length + i);
  return [
    `${paint.bold(file)}: ${humanCount(routing.tokens)} tokens in ${plural(sequences, "sequence")}`,
    table([head, ...rows], numbers),
    ...(strip.length === 0 || tokens === 0 ? [] : ["", describeStrip(strip.slice(0, tokens), routing.choices, width)]),
  ].join("\n");
}

const colorOf = (expert: number): ((text: string) => string) => COLORS[expert % COLORS.length]!;

const pad = (cells: readonly string[], count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => cells[i] ?? "");

/** `████▌   41.2 %`, the longest bar for the largest share of the table. */
function describeShare(share: number, most: number, expert: number): string {
  const eighths = most === 0 ? 0 : Math.round((share / most) * BAR * 8);
  const bar = "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "").trim();
  return `${colorOf(expert)(bar)}${" ".repeat(BAR - bar.length)} ${(100 * share).toFixed(1).padStart(5)} %`;
}

/** One block per expert, a dot where no token came. */
function drawLevels(shares: readonly number[], most: number): string {
  const level = (share: number): string => LEVELS[Math.min(7, Math.floor((share / most) * 8))]!;
  return shares.map((share, n) => (share === 0 ? paint.red("·") : colorOf(n)(level(share)))).join("");
}

/** Tokens down, as many routers across as fit. */
function describeStrip(strip: readonly StripToken[], choices: RoutedText["routing"]["choices"], width: number): string {
  const parts = choices.map((c) => c.part);
  const cells = strip.map((token) => [
    paint.dim(JSON.stringify(token.text)),
    ...token.experts.map((chosen) => chosen.map((n) => colorOf(n)(String(n))).join(" ")),
  ]);
  const head = ["token", ...parts].map(paint.bold);
  const draw = (count: number): string => table([head, ...cells].map((row) => row.slice(0, 1 + count)));
  const widest = (text: string): number =>
    Math.max(
      ...stripVTControlCharacters(text)
        .split("\n")
        .map((l) => l.length),
    );
  let shown = parts.length;
  while (shown > 1 && widest(draw(shown)) > width) shown--;
  const left = parts.length - shown;
  return [draw(shown), ...(left === 0 ? [] : [`and ${plural(left, "layer")} more (--html shows all)`])].join("\n");
}
