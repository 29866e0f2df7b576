/**
 * Loads of experts over time as heat maps: a map per router, a row per expert, time from left to right. A cell is one of a few strengths, and
 * cells of one strength are one path, so that many routers of many experts stay a small page; experts that no token met have a colour
 * of their own. Limit: at most `MOST_COLUMNS` columns, each the mean of the times that it stands for.
 */
import { escapeHtml } from "./page.ts";

export interface HeatMap {
  readonly name: string;
  /** By time: the share of each expert, 0 to 1. */
  readonly shares: readonly (readonly number[])[];
}

const MOST_COLUMNS = 96;
/** Strengths; an even share is in the middle, twice that is the strongest. */
export const STRENGTHS = 12;

export function renderHeatMap({ name, shares }: HeatMap): string {
  const columns = thin(shares);
  const experts = Math.max(0, ...columns.map((c) => c.length));
  const paths = new Map<string, string>();
  for (const [x, column] of columns.entries())
    for (const [y, share] of column.entries()) {
      const kind = classOf(share, column.length);
      paths.set(kind, `${paths.get(kind) ?? ""}M${x} ${y}h1v1h-1z`);
    }
  const drawn = [...paths].map(([kind, d]) => `<path class="${kind}" d="${d}"/>`).join("");
  const last = columns.at(-1) ?? [];
  const most = last.indexOf(Math.max(...last));
  const dead = last.filter((share) => share === 0).length;
  const words = `expert ${most} has most, ${(100 * last[most]!).toFixed(1)} %${dead === 0 ? "" : `; ${dead} met no token`}`;
  return `<figure class="heat"><figcaption><b>${escapeHtml(name)}</b><span class="quiet">${words}</span></figcaption>
<svg viewBox="0 0 ${columns.length} ${experts}" preserveAspectRatio="none" style="--rows:${experts}" role="img" aria-label="${escapeHtml(`load of ${experts} experts over time: ${words}`)}">${drawn}</svg></figure>`;
}

function classOf(share: number, experts: number): string {
  if (share === 0) return "none";
  return `h${Math.min(STRENGTHS - 1, Math.floor((share * experts * STRENGTHS) / 2))}`;
}

function thin(shares: readonly (readonly number[])[]): readonly (readonly number[])[] {
  if (shares.length <= MOST_COLUMNS) return shares;
  return Array.from({ length: MOST_COLUMNS }, (_, i) => {
    const [start, end] = [i, i + 1].map((n) => Math.floor((n * shares.length) / MOST_COLUMNS)) as [number, number];
    const part = shares.slice(start, end);
    return part[0]!.map((_x, n) => part.reduce((sum, own) => sum + (own[n] ?? 0), 0) / part.length);
  });
}

const strengthOf = (level: number): number => Math.round((100 * (level + 0.5)) / STRENGTHS);

export const HEAT_STYLE = `.maps { display: grid; gap: 0.9rem 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.heat { margin: 0; }
.heat figcaption { display: flex; gap: 0.5rem; justify-content: space-between; align-items: baseline; font-size: 0.78rem; }
.heat figcaption b { font: 600 0.78rem ui-monospace, monospace; }
.heat svg { display: block; width: 100%; height: clamp(2.5rem, calc(var(--rows) * 0.8rem), 9rem); margin-top: 0.2rem; border-radius: 4px;
  background: var(--line); shape-rendering: crispEdges; }
.scale { display: inline-flex; vertical-align: middle; margin: 0 0.4rem; border-radius: 4px; overflow: hidden; }
.scale i { width: 1.1rem; height: 0.9rem; }
.heat .none { fill: var(--alarm); }
.scale .none { background: var(--alarm); }
${Array.from({ length: STRENGTHS }, (_, level) => {
  const color = `color-mix(in oklab, oklch(var(--heat) 285) ${strengthOf(level)}%, var(--card))`;
  return `.heat .h${level} { fill: ${color}; } .scale .h${level} { background: ${color}; }`;
}).join("\n")}`;

/** The colours and what they mean. */
export const HEAT_LEGEND = `nothing <span class="scale"><i class="none"></i></span> little <span class="scale">${Array.from({ length: STRENGTHS }, (_, level) => `<i class="h${level}"></i>`).join("")}</span> twice an even share or more`;
