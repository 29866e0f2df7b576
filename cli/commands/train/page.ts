/** A run as one HTML page, from the lines of its metrics: what it learned, how its steps went, where its experts' tokens went over time. */
import { sharesOf } from "../../../runtime/session/routing.ts";
import {
  type EvaluationRecord,
  type History,
  type LoadRecord,
  readHistory,
  type SampleRecord,
  type StepRecord,
} from "../../../runtime/training/record.ts";
import { humanCount, humanParameters } from "../../output.ts";
import { CHART_SCRIPT, CHART_STYLE, type Line, type Point, renderChart } from "../../page/chart.ts";
import { HEAT_LEGEND, HEAT_STYLE, renderHeatMap } from "../../page/heat.ts";
import { escapeHtml, hueOf, renderDocument, renderFacts } from "../../page/page.ts";
import { readText } from "../../../runtime/files/read.ts";
import { replaceFile } from "../../../runtime/files/replace.ts";
import { humanDuration } from "./view.ts";

export interface Report {
  /** The run's folder. */
  readonly name: string;
  readonly history: History;
}

/** The page at `path`, of the lines of metrics at `metrics`. Throws `train/bad-metrics`, `cli/cannot-write`, `file/failed`. */
export function writeReport(path: string, metrics: string, name: string): void {
  const history = readHistory(metrics, readText(metrics));
  replaceFile(path, [renderReport({ name, history })], { inputs: [metrics] });
}

export function renderReport({ name, history }: Report): string {
  const { runs, steps, evaluations, loads, samples } = history;
  const run = runs.at(-1);
  const model = run?.model ?? name;
  const marks = runs.slice(1).map((r) => r.step);
  const body = `<header>
<h1>Training of ${escapeHtml(model)}</h1>
<p class="quiet">${escapeHtml(name)}${run === undefined ? "" : ` · ${humanParameters(run.parameters)} parameters`}</p>
${renderFacts(factsOf(history))}
</header>
${renderLoss(steps, marks)}
${evaluations.length === 0 ? "" : renderDomains(evaluations, marks)}
${renderSteps(steps, marks)}
${loads.length === 0 ? "" : renderLoads(loads)}
${samples.length === 0 ? "" : renderSamples(samples)}
${run === undefined ? "" : renderSettings(run)}`;
  return renderDocument({
    title: `Training of ${model}`,
    style: `${STYLE}\n${CHART_STYLE}\n${HEAT_STYLE}`,
    body,
    script: CHART_SCRIPT,
  });
}

function factsOf({ runs, steps, evaluations }: History): readonly (readonly [string, string])[] {
  const [run, last] = [runs.at(-1), steps.at(-1)];
  const seconds = steps.reduce((sum, step) => sum + step.seconds, 0);
  const mean = meanPerplexity(evaluations.at(-1));
  return [
    [
      "steps",
      run === undefined ? count(steps.length) : `${count(last?.step ?? 0)} <small>of ${count(run.steps)}</small>`,
    ],
    ["tokens", humanCount(last?.total ?? 0)],
    ["loss", fixed(lately(steps), 3)],
    ...(mean === null ? [] : [["mean perplexity", fixed(mean, 2)] as const]),
    ["tokens per second", humanCount(seconds === 0 ? 0 : steps.reduce((sum, step) => sum + step.tokens, 0) / seconds)],
    ["time in steps", humanDuration(seconds)],
  ];
}

/** The mean loss of the last twentieth of the steps. */
function lately(steps: readonly StepRecord[]): number | null {
  const last = steps.slice(-Math.ceil(steps.length / 20));
  return last.some((s) => s.loss === null) ? null : last.reduce((sum, s) => sum + s.loss!, 0) / last.length;
}

function renderLoss(steps: readonly StepRecord[], marks: readonly number[]): string {
  const points = steps.map((s): Point => [s.step, s.loss ?? NaN]);
  const lines = withMean("loss", hueOf(0), points);
  const resumed = marks.length === 0 ? "" : " Where the run was resumed there is a dotted line.";
  return `<section>
<h2>Loss</h2>
<p class="quiet">Nats per token, with the losses that layers state: the pale line is each step, the other the mean of those around it.${resumed}</p>
<article class="card scroll">${renderChart({ title: "Loss", along: "step", lines, size: [1080, 300], isNamed: false, isLog: false, marks })}</article>
</section>`;
}

function renderDomains(evaluations: readonly EvaluationRecord[], marks: readonly number[]): string {
  const names = [...new Set(evaluations.flatMap((e) => e.domains.map((d) => d.name)))];
  const of = (name: string): readonly Point[] =>
    evaluations.map((e): Point => [e.step, e.domains.find((d) => d.name === name)?.perplexity ?? NaN]);
  const lines = names.map((name, i): Line => ({ name, hue: hueOf(i), points: of(name) }));
  const mean: Line = {
    name: "mean",
    hue: hueOf(7),
    points: evaluations.map((e): Point => [e.step, meanPerplexity(e) ?? NaN]),
  };
  const rows = [...lines, ...(names.length > 1 ? [mean] : [])].map(({ name, hue, points }) => {
    const finite = points.filter(([, y]) => Number.isFinite(y));
    const [first, last] = [finite[0], finite.at(-1)];
    const best = finite.reduce<Point | null>((a, b) => (a !== null && a[1] <= b[1] ? a : b), null);
    const change = first === undefined || last === undefined ? null : 100 * (last[1] / first[1] - 1);
    const kind = change === null || change === 0 ? "" : change < 0 ? ' class="good"' : ' class="alarm"';
    const cells = [first?.[1], last?.[1]].map((v) => `<td>${fixed(v ?? null, 2)}</td>`).join("");
    return `<tr><th><i class="dot" style="--h:${hue}"></i>${escapeHtml(name)}</th>${cells}<td${kind}>${change === null ? "" : `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(1)} %`}</td><td>${fixed(best?.[1] ?? null, 2)} <span class="quiet">at ${best === null ? "" : count(best[0])}</span></td></tr>`;
  });
  const [begin, end] = [evaluations[0]!.step, evaluations.at(-1)!.step];
  return `<section>
<h2>Perplexity of held-out text</h2>
<p class="quiet">Per domain, on text that is never trained on; smaller is better.</p>
<div class="cards">
<article class="card scroll">${renderChart({ title: "Perplexity", along: "step", lines, size: [560, 290], isNamed: true, isLog: true, marks })}</article>
<article class="card scroll"><table class="plain"><thead><tr><th>domain</th><th>at step ${count(begin)}</th><th>at step ${count(end)}</th><th>change</th><th>best</th></tr></thead><tbody>${rows.join("")}</tbody></table></article>
</div>
</section>`;
}

function renderSteps(steps: readonly StepRecord[], marks: readonly number[]): string {
  const of = (read: (step: StepRecord) => number | null): readonly Point[] =>
    steps.map((s): Point => [s.step, read(s) ?? NaN]);
  const card = (title: string, words: string, lines: readonly Line[], isNamed = false, isLog = false): string =>
    `<article class="card scroll"><h3>${title}</h3><p class="quiet">${words}</p>${renderChart({ title, along: "step", lines, size: [isNamed ? 560 : 480, 200], isNamed, isLog, marks })}</article>`;
  const terms = termNames(steps);
  const cards = [
    card(
      "gradient's norm",
      "Before it is clipped.",
      withMean(
        "norm",
        hueOf(2),
        of((s) => s.norm),
      ),
      false,
      true,
    ),
    ...(steps.every((s) => s.rate === null)
      ? []
      : [card("learning rate", "As the schedule says.", [{ name: "rate", hue: hueOf(1), points: of((s) => s.rate) }])]),
    ...(terms.length === 0
      ? []
      : [
          card(
            "losses that layers state",
            "Sums over the layers that have one of the name; each is in the loss.",
            terms.map((name, i): Line => ({ name, hue: hueOf(i + 3), points: of((s) => termSum(s, name)) })),
            true,
            true,
          ),
        ]),
    card(
      "tokens per second",
      "Of each step.",
      withMean(
        "tokens per s",
        hueOf(5),
        of((s) => s.tokensPerSecond),
      ),
    ),
  ];
  return `<section>
<h2>Steps</h2>
<div class="cards">
${cards.join("\n")}
</div>
</section>`;
}

/** `blocks[3].ffn.balance` is one of `balance`. */
const lastName = (path: string): string => path.slice(path.lastIndexOf(".") + 1);
const termNames = (steps: readonly StepRecord[]): readonly string[] =>
  [...new Set(steps.flatMap((s) => Object.keys(s.terms).map(lastName)))].slice(0, 8);
const termSum = (step: StepRecord, name: string): number =>
  Object.entries(step.terms).reduce((sum, [path, value]) => (lastName(path) === name ? sum + (value ?? NaN) : sum), 0);

function renderLoads(loads: readonly LoadRecord[]): string {
  const parts = [...new Set(loads.flatMap((l) => l.layers.map(({ part }) => part)))];
  const maps = parts.map((part) => {
    const own = loads.flatMap((l) => l.layers.filter((layer) => layer.part === part));
    return renderHeatMap({ name: part === "" ? "model" : part, shares: own.map(({ load }) => sharesOf(load)) });
  });
  const [first, last] = [loads[0]!.step, loads.at(-1)!.step];
  return `<section>
<h2>Load of the experts over time</h2>
<p class="quiet">A map per router, a row per expert, from step ${count(first)} at the left to ${count(last)} at the right: ${HEAT_LEGEND}.</p>
<div class="maps card">${maps.join("\n")}</div>
</section>`;
}

/** The first, and the last of each prompt below it. */
function renderSamples(samples: readonly SampleRecord[]): string {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  const shown = first === last ? [first] : [first, last];
  const cards = last.texts.map(({ prompt }) => {
    const rows = shown.flatMap(({ step, texts }) =>
      texts
        .filter((t) => t.prompt === prompt)
        .map(
          ({ text }) =>
            `<h3>step ${count(step)}</h3><p class="sample"><b>${escapeHtml(prompt)}</b>${escapeHtml(text)}</p>`,
        ),
    );
    return `<article class="card scroll">${rows.join("")}</article>`;
  });
  return `<section>
<h2>What it writes</h2>
<p class="quiet">Behind the words in bold, with the same draws each time.</p>
<div class="cards">
${cards.join("\n")}
</div>
</section>`;
}

function renderSettings({ settings, sources }: NonNullable<History["runs"][number]>): string {
  const rows = Object.entries(settings).map(
    ([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(String(value ?? "none"))}</td></tr>`,
  );
  const domains = sources.map(
    ({ name, share, tokens, heldOut }) =>
      `<tr><th>${escapeHtml(name)}</th><td>${(100 * share).toFixed(1)} %</td><td>${count(tokens)}</td><td>${count(heldOut)}</td></tr>`,
  );
  return `<section>
<h2>Settings and data</h2>
<div class="cards">
<article class="card scroll"><table class="plain"><tbody>${rows.join("")}</tbody></table></article>
<article class="card scroll"><table class="plain"><thead><tr><th>source</th><th>share of sequences</th><th>tokens to train on</th><th>held out</th></tr></thead><tbody>${domains.join("")}</tbody></table></article>
</div>
</section>`;
}

function meanPerplexity(evaluation: EvaluationRecord | undefined): number | null {
  const all = evaluation?.domains.map((d) => d.perplexity) ?? [];
  if (all.length === 0 || all.some((p) => p === null)) return null;
  return all.reduce<number>((sum, p) => sum + p!, 0) / all.length;
}

/** What goes up and down from step to step, and its mean. */
function withMean(name: string, hue: number, points: readonly Point[]): readonly Line[] {
  const smooth = means(points.map(([, y]) => y)).map((y, n): Point => [points[n]![0], y]);
  return [
    { name: "each step", hue, points, isPale: true },
    { name, hue, points: smooth },
  ];
}

/** Of each value and those around it, a fortieth of all on each side; what is not finite counts for nothing. */
export function means(values: readonly number[]): readonly number[] {
  const around = Math.round(values.length / 40);
  const sums = [0];
  const counts = [0];
  for (const [i, value] of values.entries()) {
    sums.push(sums[i]! + (Number.isFinite(value) ? value : 0));
    counts.push(counts[i]! + Number(Number.isFinite(value)));
  }
  return values.map((_, i) => {
    const [start, end] = [Math.max(0, i - around), Math.min(values.length, i + around + 1)];
    return (sums[end]! - sums[start]!) / (counts[end]! - counts[start]!);
  });
}

const count = (n: number): string => n.toLocaleString("en");
const fixed = (value: number | null, digits: number): string =>
  value === null || !Number.isFinite(value) ? "not finite" : value.toFixed(digits);

const STYLE = `:root { --name: 0.55 0.15; --good: oklch(0.5 0.13 155); }
@media (prefers-color-scheme: dark) { :root { --name: 0.76 0.13; --good: oklch(0.75 0.14 155); } }
.facts dd, .facts dt { white-space: nowrap; }
.facts small { color: var(--quiet); font-size: 0.95rem; font-weight: 400; }
.card > p { margin: 0; font-size: 0.85rem; }
.card > h3 { font-family: inherit; }
.good { color: var(--good); }
.card > .sample { font: 0.88rem/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.plain { border-spacing: 0; font-size: 0.88rem; }
.plain th, .plain td { padding: 0.4rem 0.6rem; border-radius: 0; text-align: right; }
.plain tr > th:first-child { padding-left: 0; text-align: left; font-family: inherit; }
.plain tbody tr > * { border-top: 1px solid var(--line); }
.plain tbody:first-child tr:first-child > * { border-top: 0; }
.plain tbody th { color: var(--ink); }
.dot { display: inline-block; width: 0.6rem; height: 0.6rem; margin-right: 0.5rem; border-radius: 50%; background: oklch(var(--solid) var(--h)); }`;
