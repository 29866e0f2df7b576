/**
 * Routing as one HTML page: heat maps of layers by experts, and the text with every token in the colour of its expert. The
 * page holds all that it needs and asks nobody for anything; without its script it shows the first layer's tokens.
 */
import { type LayerLoad, sharesOf } from "../../../runtime/session/routing.ts";
import type { RoutedText, StripToken } from "./routed-text.ts";
import { escapeHtml, renderDocument, renderFacts } from "../../page/page.ts";
import { expertStyle, PAGE_SCRIPT, PAGE_STYLE } from "./style.ts";

export interface Page {
  readonly model: string;
  readonly checkpoint: string;
  readonly texts: readonly RoutedText[];
}

/** More columns than this have no room for numbers. */
const NUMBERED = 12;

export function renderPage({ model, checkpoint, texts }: Page): string {
  const layers = texts.flatMap((t) => t.routing.layers);
  const experts = Math.max(...layers.map((l) => l.load.length));
  const perToken = texts[0]?.routing.choices[0]?.perToken;
  const facts: readonly (readonly [string, string])[] = [
    ["layers with a router", String(texts[0]?.routing.layers.length ?? 0)],
    ["experts", String(experts)],
    ["experts per token", perToken === undefined ? "all, weighted" : String(perToken)],
    ["tokens routed", texts.reduce((n, t) => n + t.routing.tokens, 0).toLocaleString("en")],
    ["experts that no token met", String(countUnmet(texts))],
  ];
  const body = `<header>
<h1>Where the tokens went</h1>
<p class="quiet">${escapeHtml(model)} · ${escapeHtml(checkpoint)}</p>
${renderFacts(facts)}
</header>
<section>
<h2>Load of the experts</h2>
<p class="quiet">A row is a layer, a column an expert, a number its share of that layer's load in percent: the stronger the colour, the
larger. Experts that no token met are striped, and counted with †. Entropy is 1 when all experts have the same load.</p>
<div class="cards">${texts.map(renderLoad).join("\n")}</div>
</section>
${texts.some((t) => t.strip.length > 0) ? renderStrips(texts, experts) : ""}`;
  const style = `${PAGE_STYLE}\n${expertStyle(experts)}`;
  return renderDocument({ title: `Routing of ${checkpoint}`, style, body, script: PAGE_SCRIPT });
}

/** Over all layers, the experts that none of the texts met. */
function countUnmet([first, ...more]: readonly RoutedText[]): number {
  const layers = first?.routing.layers ?? [];
  return layers.reduce((count, { dead }, i) => {
    const others = more.map((t) => t.routing.layers[i]?.dead ?? []);
    return count + dead.filter((n) => others.every((own) => own.includes(n))).length;
  }, 0);
}

function renderLoad({ file, sequences, routing }: RoutedText): string {
  const count = Math.max(...routing.layers.map((l) => l.load.length));
  const numbered = count <= NUMBERED;
  const heads = Array.from({ length: count }, (_, n) => (numbered || n % 8 === 0 ? String(n) : ""));
  return `<article class="card">
<h3>${escapeHtml(file)}</h3>
<p class="quiet">${routing.tokens.toLocaleString("en")} tokens in ${sequences} ${sequences === 1 ? "sequence" : "sequences"}</p>
<div class="scroll"><table class="${numbered ? "heat" : "heat dense"}">
<thead><tr><th>layer</th>${heads.map((h, n) => `<th${numbered ? ` class="x${n}"` : ""}>${h}</th>`).join("")}<th class="wide">entropy</th><th>max : mean</th></tr></thead>
<tbody>${routing.layers.map((layer) => renderLayer(layer, count)).join("\n")}</tbody>
</table></div>
</article>`;
}

function renderLayer({ part, load, entropy, maxOverMean, dead }: LayerLoad, columns: number): string {
  const cells = sharesOf(load).map((share, n) => {
    const times = share * load.length;
    // Twice an even share is full strength.
    const strength = Math.round(100 * Math.min(1, times / 2));
    const title = `expert ${n}: ${(100 * share).toFixed(2)} % of the load, ${times.toFixed(2)} times an even share`;
    const kind = load[n] === 0 ? "dead" : `load x${n}`;
    return `<td class="${kind}" style="--p:${strength}%" title="${title}">${columns <= NUMBERED ? (100 * share).toFixed(1) : ""}</td>`;
  });
  const rest = "<td></td>".repeat(columns - load.length);
  const missing =
    dead.length === 0 ? "" : ` <b class="alarm" title="no token met ${dead.join(", ")}">†${dead.length}</b>`;
  const bar = `<i style="--p:${(100 * entropy).toFixed(1)}%"></i>${entropy.toFixed(3)}`;
  return `<tr><th>${escapeHtml(nameOf(part))}${missing}</th>${cells.join("")}${rest}<td class="bar">${bar}</td><td>${maxOverMean.toFixed(2)}</td></tr>`;
}

function renderStrips(texts: readonly RoutedText[], experts: number): string {
  const legend = Array.from({ length: Math.min(experts, 64) }, (_, n) => `<span class="chip e${n}">${n}</span>`).join(
    "",
  );
  return `<section>
<h2>Token by token</h2>
<p class="quiet">Every token has the colour of its first expert, and is underlined in that of its second. The bands show all layers at
once: choose one to colour the text by it.</p>
<p class="legend">expert ${legend}</p>
${texts.map(renderStrip).join("\n")}
</section>`;
}

function renderStrip({ file, routing, strip }: RoutedText): string {
  if (strip.length === 0) return "";
  const parts = routing.choices.map((c) => c.part);
  const choices = parts.map((_, layer) => strip.map((token) => token.experts[layer]));
  const bands = parts.map((part, layer) => {
    const cells = strip.map((token) => `<i class="e${token.experts[layer]?.[0]}"></i>`).join("");
    return `<button type="button" class="band" aria-pressed="${layer === 0}"><span>${escapeHtml(nameOf(part))}</span><span class="cells">${cells}</span></button>`;
  });
  return `<article class="card strip">
<h3>${escapeHtml(file)}</h3>
<p class="quiet">the first ${strip.length} tokens</p>
<div class="bands">${bands.join("\n")}</div>
<p class="text">${strip.map(renderToken).join("")}</p>
<script type=application/json>${JSON.stringify(choices)}</script>
</article>`;
}

function renderToken({ text, experts }: StripToken): string {
  const [first, second] = experts[0] ?? [];
  const under = second === undefined ? "" : ` u${second}`;
  return `<span class="token e${first}${under}" title="${(experts[0] ?? []).join(", ")}">${escapeHtml(text).replaceAll("\n", "↵\n")}</span>`;
}

const nameOf = (part: string): string => (part === "" ? "model" : part);
