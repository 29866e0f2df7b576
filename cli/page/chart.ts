/**
 * Charts of lines as inline SVG: points on axes with round numbers, names at the ends of lines, colours by hue alone (`page.ts`). The figure
 * carries its numbers, so that a script may show those under the pointer; without one, all is there but that. Limit: at most `MOST_POINTS`
 * points of a line are drawn, each the mean of those that it stands for.
 */
import { escapeHtml } from "./page.ts";

export type Point = readonly [x: number, y: number];

export interface Line {
  readonly name: string;
  readonly hue: number;
  /** From left to right; a `y` that is not finite is a gap. */
  readonly points: readonly Point[];
  /** Drawn pale, behind the others, and not named: what another line is the mean of. */
  readonly isPale?: boolean;
}

export interface Chart {
  readonly title: string;
  /** What `x` counts: whole numbers. */
  readonly along: string;
  readonly lines: readonly Line[];
  /** Width and height of the drawing. */
  readonly size: readonly [number, number];
  /** Named at their ends; else their names are in the text around. */
  readonly isNamed: boolean;
  /** Logarithmic, where values are above 0 and spread widely enough. */
  readonly isLog: boolean;
  /** Upright lines at these places, such as where a run was resumed. */
  readonly marks: readonly number[];
}

const MOST_POINTS = 600;
const MARGIN = { left: 52, right: 14, top: 10, bottom: 26 };
const NAMES = 96;
/** Names one below the other take so much. */
const NAME_HEIGHT = 14;

export function renderChart(chart: Chart): string {
  const [width, height] = chart.size;
  const lines = chart.lines.map((line) => ({ ...line, points: thin(line.points) }));
  const all = lines.flatMap(({ points }) => points).filter(([, y]) => Number.isFinite(y));
  if (all.length === 0) return `<p class="quiet">There are no numbers of it.</p>`;
  const isLog = chart.isLog && all.every(([, y]) => y > 0) && greatest(all, 1) > 4 * least(all, 1);
  const right = MARGIN.right + (chart.isNamed ? NAMES : 0);
  const x = scale([least(all, 0), greatest(all, 0)], [MARGIN.left, width - right], false);
  const y = scale([least(all, 1), greatest(all, 1)], [height - MARGIN.bottom, MARGIN.top], isLog);
  const across = y.ticks.map(
    (tick) =>
      `<line x1="${MARGIN.left}" x2="${width - right}" y1="${at(y.place(tick))}" y2="${at(y.place(tick))}"/><text x="${MARGIN.left - 7}" y="${at(y.place(tick) + 4)}" text-anchor="end">${tickText(tick, y.ticks)}</text>`,
  );
  const along = x.ticks.map(
    (tick) => `<text x="${at(x.place(tick))}" y="${height - 7}" text-anchor="middle">${tickText(tick, x.ticks)}</text>`,
  );
  const marks = chart.marks
    .filter((m) => m > x.from && m < x.to)
    .map(
      (m) =>
        `<line class="mark" x1="${at(x.place(m))}" x2="${at(x.place(m))}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}"/>`,
    );
  const paths = [...lines]
    .sort((a, b) => Number(b.isPale ?? false) - Number(a.isPale ?? false))
    .map(
      (line) =>
        `<path class="${line.isPale === true ? "pale" : "line"}" style="--h:${line.hue}" d="${pathOf(line, x.place, y.place)}"/>`,
    );
  const names = chart.isNamed ? renderNames(lines, y.place, width - right + 8, height) : "";
  const shown = lines.filter((line) => line.isPale !== true);
  const data = {
    along: chart.along,
    left: x.place(x.from) / width,
    right: x.place(x.to) / width,
    from: x.from,
    to: x.to,
    lines: shown.map(({ name, hue, points }) => ({ name, hue, points: points.map(([px, py]) => [px, rounded(py)]) })),
  };
  return `<figure class="chart" style="--least:${Math.round(width * 0.55)}px"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(describe(chart.title, shown))}"><g class="grid">${across.join("")}${along.join("")}</g>${marks.join("")}${paths.join("")}${names}</svg><output></output>
<script type=application/json>${JSON.stringify(data).replaceAll("<", "\\u003c")}</script></figure>`;
}

/** For those who do not see it: where each line begins and ends. */
function describe(title: string, lines: readonly Line[]): string {
  const parts = lines.map(({ name, points }) => {
    const [first, last] = [points[0], points.at(-1)];
    return first === undefined || last === undefined
      ? name
      : `${name} from ${rounded(first[1])} to ${rounded(last[1])}`;
  });
  return `${title}: ${parts.join("; ")}`;
}

function pathOf({ points }: Line, x: (v: number) => number, y: (v: number) => number): string {
  let isOpen = false;
  return points
    .map(([px, py]) => {
      if (!Number.isFinite(py)) {
        isOpen = false;
        return "";
      }
      const step = `${isOpen ? "L" : "M"}${at(x(px))} ${at(y(py))}`;
      isOpen = true;
      return step;
    })
    .join("");
}

/** Beside the last points, moved apart where they would lie on each other. */
function renderNames(lines: readonly Line[], y: (v: number) => number, left: number, height: number): string {
  const ends = lines
    .flatMap(({ name, hue, points, isPale }) => {
      const last = points.findLast(([, py]) => Number.isFinite(py));
      return last === undefined || isPale === true ? [] : [{ name, hue, y: y(last[1]) }];
    })
    .sort((a, b) => a.y - b.y);
  let above = MARGIN.top - NAME_HEIGHT;
  const down = ends.map((end) => ({ ...end, y: (above = Math.max(end.y, above + NAME_HEIGHT)) }));
  let below = height - MARGIN.bottom + NAME_HEIGHT;
  return down
    .toReversed()
    .map((end) => ({ ...end, y: (below = Math.min(end.y, below - NAME_HEIGHT)) }))
    .map(({ name, hue, y: place }) => {
      const short = name.length > 12 ? `${name.slice(0, 11)}…` : name;
      return `<text class="name" style="--h:${hue}" x="${left}" y="${at(place + 4)}">${escapeHtml(short)}</text>`;
    })
    .join("");
}

interface Scale {
  readonly from: number;
  readonly to: number;
  readonly ticks: readonly number[];
  readonly place: (value: number) => number;
}

/** A little wider than the values where that gives round ends. */
function scale([low, high]: Point, [start, end]: Point, isLog: boolean): Scale {
  const spread = high - low || Math.abs(high) || 1;
  const isUpright = start > end;
  const pad = isUpright && !isLog ? 0.04 * spread : 0;
  const [from, to] = high === low ? [low - spread / 2, high + spread / 2] : [low - pad, high + pad];
  const ticks = isLog ? logTicks(from, to) : roundTicks(from, to, !isUpright);
  const turn = isLog ? Math.log : (v: number): number => v;
  const place = (value: number): number =>
    start + ((turn(value) - turn(from)) / (turn(to) - turn(from))) * (end - start);
  return { from, to, ticks, place };
}

/** Three to seven: multiples of 1, 2 or 5 times a power of ten, or of that and 1. */
export function roundTicks(from: number, to: number, isWhole: boolean): readonly number[] {
  const rough = Math.max((to - from) / 7, isWhole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * (1 - 1e-9))!;
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.floor(to / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(from: number, to: number): readonly number[] {
  const [low, high] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  const all = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).flatMap((p) => [p, 2 * p, 5 * p]);
  const within = all.filter((tick) => tick >= from && tick <= to);
  if (within.length < 3) return roundTicks(from, to, false);
  return within.length > 8 ? within.filter((tick) => Number.isInteger(Math.log10(tick))) : within;
}

function tickText(tick: number, ticks: readonly number[]): string {
  const step = Math.abs((ticks[1] ?? tick) - (ticks[0] ?? 0)) || Math.abs(tick) || 1;
  const size = Math.max(...ticks.map(Math.abs));
  if (size >= 10_000) return `${trim(tick / 1000, step / 1000)} k`;
  if (size < 0.01 && size > 0) {
    const digits = Math.floor(Math.log10(size) + 1e-9) - Math.floor(Math.log10(step) + 1e-9);
    return tick === 0 ? "0" : tick.toExponential(Math.max(0, Math.min(6, digits)));
  }
  return trim(tick, step);
}

const trim = (value: number, step: number): string =>
  value.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));

/** Means of as many equal parts as may be drawn. */
function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= MOST_POINTS) return points;
  return Array.from({ length: MOST_POINTS }, (_, i): Point => {
    const [start, end] = [i, i + 1].map((n) => Math.floor((n * points.length) / MOST_POINTS)) as [number, number];
    const part = points.slice(start, end);
    const finite = part.filter(([, y]) => Number.isFinite(y));
    const mean = finite.reduce((sum, [, y]) => sum + y, 0) / finite.length;
    return [part.at(-1)![0], mean];
  });
}

const least = (points: readonly Point[], axis: 0 | 1): number =>
  points.reduce((m, p) => Math.min(m, p[axis]), Infinity);
const greatest = (points: readonly Point[], axis: 0 | 1): number =>
  points.reduce((m, p) => Math.max(m, p[axis]), -Infinity);
const at = (n: number): string => String(Math.round(n * 10) / 10);
/** JSON has no NaN. */
const rounded = (n: number): number | null => (Number.isFinite(n) ? Number(n.toPrecision(5)) : null);

export const CHART_STYLE = `.chart { position: relative; min-width: var(--least); margin: 0.5rem 0 0; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.chart .grid line { stroke: var(--line); stroke-width: 1; }
.chart text { fill: var(--quiet); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.chart .name { fill: oklch(var(--name) var(--h)); font-weight: 600; }
.chart path { fill: none; stroke-linejoin: round; stroke-linecap: round; stroke: oklch(var(--solid) var(--h)); }
.chart .line { stroke-width: 2; }
.chart .pale { stroke-width: 1; opacity: 0.35; }
.chart .mark { stroke: var(--quiet); stroke-dasharray: 2 4; }
.chart output { position: absolute; top: 0; z-index: 1; display: none; padding: 0.35rem 0.6rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); font-size: 0.8rem; font-variant-numeric: tabular-nums; pointer-events: none; white-space: nowrap;
  box-shadow: 0 2px 10px rgb(0 0 0 / 0.15); }
.chart output b { color: oklch(var(--name) var(--h)); }
.chart .at { stroke: var(--quiet); stroke-width: 1; }`;

/** Shows the numbers under the pointer. */
export const CHART_SCRIPT = `for (const figure of document.querySelectorAll(".chart")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), output = figure.querySelector("output");
  const upright = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "line"));
  upright.setAttribute("class", "at");
  const hide = () => { output.style.display = "none"; upright.setAttribute("visibility", "hidden"); };
  hide();
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const part = (event.clientX - box.left) / box.width;
    if (part < data.left || part > data.right) return hide();
    const wanted = data.from + ((part - data.left) / (data.right - data.left)) * (data.to - data.from);
    const near = (points) => points.reduce((a, b) => (Math.abs(b[0] - wanted) < Math.abs(a[0] - wanted) ? b : a));
    const found = data.lines.filter((line) => line.points.length > 0).map((line) => ({ line, point: near(line.points) }));
    const x = found[0].point[0];
    output.replaceChildren(data.along + " " + x, ...found.flatMap(({ line, point }) => {
      const name = document.createElement("b");
      name.style.setProperty("--h", line.hue);
      name.textContent = line.name;
      return [document.createElement("br"), name, " " + (point[1] ?? "not finite")];
    }));
    const view = svg.viewBox.baseVal;
    const place = data.left + ((x - data.from) / (data.to - data.from || 1)) * (data.right - data.left);
    for (const [key, value] of [["x1", place * view.width], ["x2", place * view.width], ["y1", 10], ["y2", view.height - 26]])
      upright.setAttribute(key, value);
    upright.setAttribute("visibility", "visible");
    output.style.display = "block";
    if (place > 0.6) { output.style.left = "auto"; output.style.right = 100 * (1 - place) + 1.5 + "%"; }
    else { output.style.right = "auto"; output.style.left = 100 * place + 1.5 + "%"; }
  });
}`;
