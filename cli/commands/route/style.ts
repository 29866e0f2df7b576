/** Style and script of the routing page. Colours are in OKLCH, so that experts differ in hue alone and dark mode in lightness alone. */

/** Hues that are told apart easily; beyond them, turns by the golden angle. */
const HUES = [255, 55, 155, 320, 95, 200, 25, 285];

/** A class `e3` with the hue of expert 3, `u3` for an underline of that hue, and `x3` for its name. */
export function expertStyle(experts: number): string {
  return Array.from({ length: experts }, (_, n) => {
    const hue = HUES[n] ?? Math.round((n * 137.508) % 360);
    return `.e${n}{--h:${hue}}.u${n}{--u:${hue}}.x${n}{--h:${hue}}`;
  }).join("\n");
}

export const PAGE_STYLE = `:root {
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
thead th[class^="x"] { border-bottom: 3px solid oklch(var(--solid) var(--h)); }
td { min-width: 2.6rem; padding: 0.35rem 0.4rem; text-align: center; border-radius: 5px; }
.dense { border-spacing: 1px; }
.dense th:not(:first-child, .wide, :last-child) { max-width: 0; padding: 0.15rem 0; text-align: left; overflow: visible; }
.dense td.load, .dense td.dead { min-width: 4px; padding: 0.35rem 0; border-radius: 1px; }
.load { background: color-mix(in oklab, oklch(var(--heat) var(--h)) var(--p), var(--card)); }
.dense .load { --h: 285; }
.dead { background: repeating-linear-gradient(45deg, var(--line) 0 2px, transparent 2px 6px); color: var(--quiet); }
.wide { min-width: 6rem; }
.bar { position: relative; }
.bar i { position: absolute; inset: auto auto 2px 12%; width: 76%; height: 3px; border-radius: 2px;
  background: linear-gradient(90deg, var(--quiet) var(--p), var(--line) var(--p)); }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem; align-items: center; color: var(--quiet); }
.chip, .token { background: oklch(var(--chip) var(--h)); }
.chip { min-width: 1.7rem; padding: 0 0.45rem; border-radius: 5px; color: var(--ink); text-align: center; font-size: 0.85rem; }
.strip { margin-top: 1rem; }
.bands { display: grid; gap: 2px; margin-bottom: 1rem; }
.band { display: flex; gap: 0.75rem; align-items: center; width: 100%; padding: 2px 4px; border: 0; border-radius: 6px; background: none;
  color: var(--quiet); font: 0.78rem ui-monospace, monospace; cursor: pointer; }
.band > span:first-child { flex: none; min-width: 6rem; text-align: left; }
.band:hover, .band:focus-visible { background: var(--line); outline: none; }
.band[aria-pressed="true"] { background: var(--line); color: var(--ink); font-weight: 600; }
.cells { display: flex; flex: 1; min-width: 0; height: 1.1rem; border-radius: 3px; overflow: hidden; }
.cells i { flex: 1; background: oklch(var(--solid) var(--h)); }
.cells i.at { background: var(--ink); }
.text { max-width: none; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 0.92rem/2 ui-monospace, monospace; }
.token { padding: 0.16rem 0; border-radius: 3px; border-bottom: 3px solid transparent; margin-right: 1px; }
.token[class*=" u"] { border-bottom-color: oklch(var(--under) var(--u)); }
.token:hover { outline: 2px solid var(--ink); }
@media print { .card { break-inside: avoid; } }`;

export const PAGE_SCRIPT = `for (const strip of document.querySelectorAll(".strip")) {
  const layers = JSON.parse(strip.querySelector("script").textContent);
  const tokens = [...strip.querySelectorAll(".token")];
  const bands = [...strip.querySelectorAll(".band")];
  const show = (layer) => {
    bands.forEach((band, i) => band.setAttribute("aria-pressed", String(i === layer)));
    tokens.forEach((token, t) => {
      const [first, second] = layers[layer][t];
      token.className = "token e" + first + (second === undefined ? "" : " u" + second);
      token.title = layers[layer][t].join(", ");
    });
  };
  bands.forEach((band, layer) => band.addEventListener("click", () => show(layer)));
  const mark = (t, on) => bands.forEach((band) => band.querySelector(".cells").children[t].classList.toggle("at", on));
  tokens.forEach((token, t) => {
    token.addEventListener("mouseenter", () => mark(t, true));
    token.addEventListener("mouseleave", () => mark(t, false));
  });
}`;
