/**
 * What a JSON file of a stranger's must be, said piece by piece and checked before anything is made of it. A check finds the first thing
 * that is not as it should be, and its place, such as `model.merges[3]`.
 */

export type Json = unknown;

/** Null where a value is right. */
export type Check = (value: Json, path: string) => Problem | null;

export interface Problem {
  readonly path: string;
  /** "a text", "a list": what should stand there. */
  readonly wanted: string;
  readonly value: Json;
}

export const isRecord = (value: Json): value is Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const isText = (value: Json): value is string => typeof value === "string";
const isCount = (value: Json): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

export const test =
  (wanted: string, holds: (value: Json) => boolean): Check =>
  (value, path) =>
    holds(value) ? null : { path, wanted, value };

export const text = test("a text", isText);
export const name = test("a text that is not empty", (value) => isText(value) && value !== "");
export const count = test("a whole number from 0", isCount);
export const positive = test("a whole number from 1", (value) => isCount(value) && value > 0);
export const number = test("a number", (value) => typeof value === "number");
export const truth = test("true or false", (value) => typeof value === "boolean");
export const record = test("an object", isRecord);
export const oneOf = (...words: readonly string[]): Check =>
  test(words.map((word) => `"${word}"`).join(" or "), (value) => words.includes(value as string));

export const optional =
  (check: Check): Check =>
  (value, path) =>
    value === undefined || value === null ? null : check(value, path);

/** Lists are long and mostly right: a place is only written for the item that is not. */
export const listOf =
  (check: Check): Check =>
  (value, path) => {
    if (!Array.isArray(value)) return { path, wanted: "a list", value };
    const at = value.findIndex((item) => check(item, "") !== null);
    return at < 0 ? null : check(value[at], `${path}[${at}]`);
  };

/** Of an object, its fields by name. */
export const fields =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value, path) =>
    record(value, path) ??
    firstProblem(Object.entries(checks), ([key, check]) =>
      check((value as Record<string, Json>)[key], path === "" ? key : `${path}.${key}`),
    );

export function firstProblem<T>(items: Iterable<T>, find: (item: T) => Problem | null): Problem | null {
  for (const item of items) {
    const problem = find(item);
    if (problem !== null) return problem;
  }
  return null;
}

/** `merges[3]` of a file "must be two tokens", and what it is. */
export function describeProblem({ path, wanted, value }: Problem, file: string): { message: string; notes: string[] } {
  return { message: `\`${path}\` of \`${file}\` must be ${wanted}`, notes: [`it is ${showValue(value)}`] };
}

/** A value as it is written, or its beginning. */
export function showValue(value: Json): string {
  if (value === undefined) return "not there";
  const written = stringify(value);
  return written.length > 80 ? `${written.slice(0, 80)}...` : written;
}

/** What was read may be nested deeper than can be written. */
function stringify(value: Json): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    if (cause instanceof RangeError) return "nested too deeply to be shown";
    throw cause;
  }
}
