/** A symbolic size as a WGSL u32 expression, its symbols as identifiers: `1/2*D*T + 3` gives `((D * T) / 2u + 3u)`. */
import type { Dim } from "../graph/dim.ts";

/** Throws for a size with a negative coefficient first, which no non-empty axis has. */
export function sizeText(size: Dim): string {
  if (size.value !== null) return `${size.value}u`;
  const terms = size.key.split(" + ").map(termText);
  // Positive terms first: u32 has no negative intermediate results.
  terms.sort((a, b) => Number(a.negative) - Number(b.negative));
  const [first, ...rest] = terms;
  if (first === undefined || first.negative) throw new Error(`${size.key} is no size`);
  if (rest.length === 0) return first.text;
  return `(${[first.text, ...rest.map((t) => `${t.negative ? "-" : "+"} ${t.text}`)].join(" ")})`;
}

function termText(term: string): { readonly negative: boolean; readonly text: string } {
  const over: string[] = [];
  const times: string[] = [];
  for (const factor of term.replace(/^-/, "").split("*")) {
    const number = /^(\d+)(?:\/(\d+))?$/.exec(factor);
    if (number !== null) {
      if (number[1] !== "1") times.push(`${number[1]}u`);
      if (number[2] !== undefined) over.push(`${number[2]}u`);
      continue;
    }
    const [symbol = "", power = "1"] = factor.split("^");
    const [list, count] = power.startsWith("-") ? [over, Number(power.slice(1))] : [times, Number(power)];
    for (let i = 0; i < count; i++) list.push(symbol);
  }
  const product = times.length === 0 ? "1u" : times.length === 1 ? `${times[0]}` : `(${times.join(" * ")})`;
  const text = over.length === 0 ? product : `(${product} / ${over.length === 1 ? over[0] : `(${over.join(" * ")})`})`;
  return { negative: term.startsWith("-"), text };
}
