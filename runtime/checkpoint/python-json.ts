/**
 * JSON as Python's `json` reads and writes it, which is how most files beside weights are made: with the words `NaN`, `Infinity`
 * and `-Infinity` for numbers, which JSON does not have.
 */

const WORDS: ReadonlyMap<string, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

/** In front of a word while it is a string. */
const MARK = "\u0000";
const MARK_AS_JSON = JSON.stringify(MARK).slice(1, -1);

/** As `JSON.parse`; throws what it throws. */
export function parsePythonJson(text: string, revive: Reviver = (_, value) => value): unknown {
  const plain = text.replace(/"(?:\\.|[^"\\])*"|-?\bInfinity\b|\bNaN\b/g, (token) =>
    WORDS.has(token) ? `"${MARK_AS_JSON}${token}"` : token,
  );
  // Positions in messages are those of the text as it stands.
  if (plain === text) return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
  const reviveWords: Reviver = (key, value, context) => {
    const word = typeof value === "string" && value.startsWith(MARK) ? WORDS.get(value.slice(1)) : undefined;
    return word ?? revive(key, value, context);
  };
  return JSON.parse(plain, reviveWords as (key: string, value: unknown) => unknown);
}

/** Of `JSON.parse`, with the digits of a number. */
export type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

/** What stands for a number while `JSON.stringify` writes; `writeWords` then puts words in its place. */
export function markWord(value: number): string | number {
  return Number.isFinite(value) ? value : `${MARK}${value}`;
}

export function writeWords(json: string): string {
  return json.replaceAll(/"\\u0000(-?Infinity|NaN)"/g, "$1");
}
