/**
 * A run on a few lines of a terminal, from the records of its metrics: how far it is, the loss with its curve, perplexity per domain with what
 * became of it, the load of every expert. Lines have no more columns than there are: what does not fit is left out, from the right.
 */
import { stripVTControlCharacters } from "node:util";
import type { DomainResult, EvaluationRecord, LoadRecord, StepRecord } from "../../../runtime/training/record.ts";
import { sharesOf } from "../../../runtime/session/routing.ts";
import { humanCount, type Paint } from "../../output.ts";

export interface View {
  readonly step: StepRecord;
  readonly steps: number;
  /** All losses so far, for the curve. */
  readonly losses: readonly number[];
  readonly secondsLeft: number | null;
  readonly evaluation: EvaluationRecord | null;
  /** The one before, to compare with. */
  readonly before: EvaluationRecord | null;
  readonly load: LoadRecord | null;
}

const LEVELS = "▁▂▃▄▅▆▇█";

/** Columns for the bar and for the curve: narrow terminals need theirs for numbers. */
const barOf = (width: number): number => Math.max(8, Math.min(28, width - 62));
const curveOf = (width: number): number => Math.max(12, Math.min(32, width - 62));

/** The lines, each of at most `width` columns. */
export function renderView(view: View, width: number, paint: Paint): readonly string[] {
  const { evaluation, load } = view;
  return [
    renderHead(view, width, paint),
    renderLoss(view, width, paint),
    ...(evaluation === null ? [] : [renderDomains(evaluation, view.before, width, paint)]),
    ...(load === null || load.layers.length === 0 ? [] : [renderLoad(load, width, paint)]),
  ];
}

/** `step 120 of 400 ━━━━━━━━───────────────────── 30 %   3 min 12 s left   2.45 k tokens/s`. */
function renderHead({ step, steps, secondsLeft }: View, width: number, paint: Paint): string {
  const done = step.step / Math.max(1, steps);
  const columns = barOf(width);
  const filled = Math.round(columns * Math.min(1, done));
  const bar = paint.cyan("━".repeat(filled)) + paint.dim("─".repeat(columns - filled));
  const left = secondsLeft === null ? [] : [`   ${humanDuration(secondsLeft)} left`];
  return fit(
    [
      `${paint.bold(`step ${step.step}`)} of ${steps} `,
      bar,
      ` ${Math.floor(100 * done)} %`,
      ...left,
      `   ${humanCount(step.tokensPerSecond)} tokens/s`,
    ],
    width,
  );
}

/** `loss 3.214 █▇▆▅▄▃▃▂▂▁▁   balance 0.021   norm 0.91   rate 9.4e-4`. */
function renderLoss({ step, losses }: View, width: number, paint: Paint): string {
  const quiet = (name: string, value: string): string => `   ${paint.dim(name)} ${value}`;
  const terms = Object.entries(step.terms);
  const sum = terms.reduce((total, [, value]) => total + (value ?? NaN), 0);
  return fit(
    [
      `loss ${paint.bold(fixed(step.loss, 3))} `,
      paint.cyan(drawCurve(losses, curveOf(width))),
      ...(terms.length === 0
        ? []
        : [quiet(terms.length === 1 ? "loss term" : `${terms.length} loss terms`, fixed(sum, 3))]),
      quiet("norm", fixed(step.norm, 2)),
      ...(step.rate === null || Number.isNaN(step.rate) ? [] : [quiet("rate", step.rate.toPrecision(2))]),
    ],
    width,
  );
}

/** `perplexity   prose 28.10 ↓ 1.20   code 11.20 ↓ 0.43`. */
function renderDomains(now: EvaluationRecord, before: EvaluationRecord | null, width: number, paint: Paint): string {
  const domains = now.domains.map((domain) => {
    const earlier = before?.domains.find(({ name }) => name === domain.name);
    return `   ${domain.name} ${paint.bold(fixed(domain.perplexity, 2))}${renderChange(domain, earlier, paint)}`;
  });
  return fit(["perplexity", ...domains, paint.dim(`   at step ${now.step}`)], width);
}

function renderChange(now: DomainResult, before: DomainResult | undefined, paint: Paint): string {
  if (now.perplexity === null || before === undefined || before.perplexity === null) return "";
  const change = now.perplexity - before.perplexity;
  if (Math.abs(change) < 0.005) return paint.dim(" =");
  const words = `${change < 0 ? "↓" : "↑"} ${Math.abs(change).toFixed(2)}`;
  return ` ${change < 0 ? paint.green(words) : paint.red(words)}`;
}

/** `experts   ▃▅▇▂ ▄▄▅▃ ▂▅▅·`: a group per router, in their order; twice an even share is a full block, a dot is no token. */
function renderLoad({ layers }: LoadRecord, width: number, paint: Paint): string {
  const groups = layers.map(({ load }) => {
    const blocks = sharesOf(load).map((share) => {
      const level = Math.min(LEVELS.length - 1, Math.floor((share * load.length * LEVELS.length) / 2));
      return share === 0 ? paint.red("·") : LEVELS[level]!;
    });
    return ` ${blocks.join("")}`;
  });
  return fit(["experts  ", ...groups], width);
}

/** Means of as many equal parts as there are columns, from the least to the greatest. */
export function drawCurve(values: readonly number[], columns: number): string {
  const finite = values.filter(Number.isFinite);
  const count = Math.min(columns, finite.length);
  const means = Array.from({ length: count }, (_, i) => {
    const part = finite.slice(Math.floor((i * finite.length) / count), Math.floor(((i + 1) * finite.length) / count));
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
  const [least, most] = [Math.min(...means), Math.max(...means)];
  const level = (value: number): number => (most === least ? 0 : (value - least) / (most - least));
  return means.map((value) => LEVELS[Math.round(level(value) * (LEVELS.length - 1))]).join("");
}

/** As many pieces as fit, from the left; the first is cut where even that does not. */
export function fit(pieces: readonly string[], width: number): string {
  let [text, used] = ["", 0];
  for (const piece of pieces) {
    const own = columnsOf(piece);
    if (used + own > width)
      return text === "" ? stripVTControlCharacters(piece).slice(0, Math.max(0, width)) : text.trimEnd();
    text += piece;
    used += own;
  }
  return text;
}

/** Letters of East Asia and pictures take two columns. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

function columnsOf(text: string): number {
  return [...stripVTControlCharacters(text)].reduce((n, c) => n + (WIDE.test(c) ? 2 : 1), 0);
}

const fixed = (value: number | null, digits: number): string =>
  value === null || !Number.isFinite(value) ? "not finite" : value.toFixed(digits);

/** `45 s`, `3 min 12 s`, `2 h 5 min`, `1 d 4 h`. */
export function humanDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ] as const;
  const first = Math.min(parts.length - 1, parts.findIndex(([n]) => n > 0) + (whole === 0 ? parts.length : 0));
  return parts
    .slice(first, first + 2)
    .filter(([n], i) => i === 0 || n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}
