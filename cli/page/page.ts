/**
 * Pages that commands write: each is one file that holds all it needs and asks nobody for anything. Colours are in OKLCH, so that things differ
 * in hue alone and dark mode in lightness alone; what is dark or light is what the reader's system says.
 */

export interface Page {
  readonly title: string;
  readonly style: string;
  /** HTML. */
  readonly body: string;
  readonly script: string;
}

export function renderDocument({ title, style, body, script }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>
${BASE_STYLE}
${style}
</style>
</head>
<body>
${body}
<script>
${script}
</script>
</body>
</html>
`;
}

/** Numbers at the head of a page. The values are HTML. */
export function renderFacts(facts: readonly (readonly [name: string, value: string])[]): string {
  return `<dl class="facts">${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join("")}</dl>`;
}

export const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Hues that are told apart easily; beyond them, turns by the golden angle. */
const HUES = [255, 55, 155, 320, 95, 200, 25, 285];

/** Of the thing with this number, such as an expert. */
export const hueOf = (n: number): number => HUES[n] ?? Math.round((n * 137.508) % 360);

const BASE_STYLE = `:root {
  color-scheme: light dark;
  --page: oklch(0.975 0.004 260); --card: #fff; --ink: oklch(0.25 0.02 260); --quiet: oklch(0.5 0.02 260);
  --line: oklch(0.91 0.006 260); --alarm: oklch(0.55 0.2 25); --heat: 0.7 0.15;
  --chip: 0.9 0.075; --solid: 0.68 0.145; --under: 0.62 0.16;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: oklch(0.18 0.012 260); --card: oklch(0.225 0.014 260); --ink: oklch(0.93 0.008 260); --quiet: oklch(0.7 0.015 260);
    --line: oklch(0.32 0.015 260); --alarm: oklch(0.72 0.16 25); --heat: 0.52 0.13;
    --chip: 0.4 0.085; --solid: 0.66 0.13; --under: 0.75 0.14;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -0.02em; }
h2 { margin: 2.75rem 0 0.25rem; font-size: 1.25rem; letter-spacing: -0.01em; }
h3 { margin: 0; font: 600 0.95rem ui-monospace, monospace; overflow-wrap: anywhere; }
p { margin: 0.25rem 0 0.75rem; max-width: 60rem; }
.quiet { color: var(--quiet); }
.alarm { color: var(--alarm); }
.facts { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1.25rem 0 0; }
.facts div { flex: 1 1 9rem; padding: 0.75rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.facts dt { color: var(--quiet); font-size: 0.8rem; }
.facts dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
.card { min-width: 0; padding: 1rem 1.25rem 1.25rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-spacing: 3px; border-collapse: separate; font-size: 0.82rem; font-variant-numeric: tabular-nums; }
th { padding: 0.15rem 0.4rem; color: var(--quiet); font-weight: 500; text-align: center; white-space: nowrap; }
tr > th:first-child { padding-left: 0; text-align: left; font-family: ui-monospace, monospace; }
td { min-width: 2.6rem; padding: 0.35rem 0.4rem; text-align: center; border-radius: 5px; }
@media print { .card { break-inside: avoid; } }`;
