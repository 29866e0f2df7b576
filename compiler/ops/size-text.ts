/** A symbolic size as a WGSL u32 expression over its symbols: `1/2*D*T + 3` gives `((D * T) / 2u + 3u)` where they are read by name. */
import type { Term } from "../graph/dim.ts";
import { Dim } from "../graph/dim.ts";

/** What gives a symbol of a size, such as `T`, as WGSL. */
export type ReadSymbol = (symbol: string) => string;

/** Sizes as WGSL, as code that reads symbols from somewhere writes them. */
export type WriteSize = (size: Dim) => string;

/** For sizes that are known when compiling; throws for others, which is a bug of the caller. */
export const fixedOnly: WriteSize = (size) =>
  sizeText(size, (symbol) => {
    throw new Error(`size ${size.key} is wanted where ${symbol} cannot be read`);
  });

/** Throws for a size with a negative coefficient first, which no non-empty axis has. */
export function sizeText(size: Dim, read: ReadSymbol): string {
  if (size.value !== null) return `${size.value}u`;
  // Positive terms first: u32 has no negative intermediate results.
  const terms = size.terms.toSorted((a, b) => Number(a.num < 0) - Number(b.num < 0));
  const [first, ...rest] = terms;
  if (first === undefined || first.num < 0) throw new Error(`${size.key} is no size`);
  if (rest.length === 0) return termText(first, read);
  return `(${[termText(first, read), ...rest.map((t) => `${t.num < 0 ? "-" : "+"} ${termText(t, read)}`)].join(" ")})`;
}

/** Without its sign. */
function termText({ num, den, powers }: Term, read: ReadSymbol): string {
  const times: string[] = [];
  const over = den === 1 ? [] : [`${den}u`];
  if (Math.abs(num) !== 1) times.push(`${Math.abs(num)}u`);
  for (const [symbol, power] of [...powers].sort(([a], [b]) => (a < b ? -1 : 1)))
    for (let i = 0; i < Math.abs(power); i++) (power > 0 ? times : over).push(symbolText(symbol, read));
  const product = times.length === 0 ? "1u" : times.length === 1 ? `${times[0]}` : `(${times.join(" * ")})`;
  return over.length === 0 ? product : `(${product} / ${over.length === 1 ? over[0] : `(${over.join(" * ")})`})`;
}

function symbolText(symbol: string, read: ReadSymbol): string {
  const rounded = Dim.roundedSymbol(symbol);
  if (rounded === null) return read(symbol);
  const { over, whole } = asFraction(rounded.of);
  const text = sizeText(whole, read);
  return rounded.rounding === "floor" ? `(${text} / ${over}u)` : `((${text} + ${over - 1}u) / ${over}u)`;
}

/** A size as a quotient: its coefficients over one denominator. */
export function asFraction(size: Dim): { readonly whole: Dim; readonly over: number } {
  const over = size.terms.reduce((n, { den }) => (n * den) / greatestDivisor(n, den), 1);
  return { whole: size.times(Dim.of(over)), over };
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
