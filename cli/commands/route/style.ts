/** Style and script of the routing page, beside what all pages share. */
import { hueOf } from "../../page/page.ts";

/** A class `e3` with the hue of expert 3, `u3` for an underline of that hue, and `x3` for its name. */
export function expertStyle(experts: number): string {
  return Array.from({ length: experts }, (_, n) => {
    const hue = hueOf(n);
    return `.e${n}{--h:${hue}}.u${n}{--u:${hue}}.x${n}{--h:${hue}}`;
  }).join("\n");
}

export const PAGE_STYLE = `thead th[class^="x"] { border-bottom: 3px solid oklch(var(--solid) var(--h)); }
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
.token:hover { outline: 2px solid var(--ink); }`;

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
