/**
 * WGSL that reads weights out of the words that they lie in, by the row of their format: one element, four neighbours of an array, or four
 * columns of a matrix (`plan/layout.ts`). Infinities and NaN are not weights and come out as large numbers.
 */
import type { Format } from "../../plan/format.ts";
import { type Arithmetic, matrixSteps, perWord, QUAD } from "../../plan/layout.ts";

/** Operands are names or stand in parentheses. */
export const text: Arithmetic<string> = {
  plus: (a, b) => `${a} + ${b}`,
  times: (a, by) => `${a} * ${by}u`,
  over: (a, by) => (by === 1 ? a : `(${a}) / ${by}u`),
};

const scalar = (component: string): string => component;
const four = (component: string): string => `vec4<${component}>`;

/** Element `i` of an array, of which `word` holds it. */
export function loadElement(format: Format, word: string, i: string): string {
  const per = perWord(format);
  if (per === 1) return format.load(word, 0, scalar);
  return format.load(`(${word} >> (${format.bits}u * ((${i}) & ${per - 1}u)))`, 0, scalar);
}

/** Words that hold four neighbours of an array, and four columns of a matrix: those are loaded together. */
export const wordsOfRun = (format: Format): number => Math.ceil(QUAD / perWord(format));
export const wordsOfColumns = (format: Format): number => (QUAD * rowsOf(format)) / perWord(format);

/** The type of so many words. */
export const typeOfWords = (words: number): string => (words === 1 ? "u32" : `vec${words}<u32>`);

const rowsOf = (format: Format): number => matrixSteps(format, QUAD, QUAD).rows;

/** Neighbours i .. i+3 of an array, i a multiple of four, out of the words that hold them. */
export function loadRun(format: Format, words: string, i: string): string {
  const own = spread(format, words, wordsOfRun(format), 1);
  const per = perWord(format);
  return format.load(per <= QUAD ? own : shifted(own, format, `${i} % ${per}u`), 0, four);
}

/** Four columns of one of the rows that lie together: a number, or WGSL for it. */
export function loadColumns(format: Format, words: string, row: number | string): string {
  const own = spread(format, words, wordsOfColumns(format), rowsOf(format));
  if (rowsOf(format) === 1) return format.load(own, 0, four);
  return typeof row === "number" ? format.load(own, row, four) : format.load(shifted(own, format, row), 0, four);
}

/** Words 4 i .. 4 i + 3 of what is bound as vectors of `words`. */
export function readFour(bound: string, words: number, i: string): string {
  if (words === 4) return `${bound}[${i}]`;
  const each = Array.from({ length: 4 / words }, (_, e) => `${bound}[${i} * ${4 / words}u + ${e}u]`);
  return `vec4<u32>(${each.join(", ")})`;
}

const shifted = (words: string, { bits }: Format, elements: string): string =>
  `(${words} >> vec4<u32>(${bits}u * (${elements})))`;

/** Elements 0, `step`, 2 * `step` and 3 * `step` of some words as the lowest of a component each. */
function spread(format: Format, words: string, count: number, step: number): string {
  if (count === QUAD) return words;
  const at = [0, 1, 2, 3].map((e) => e * step * format.bits);
  const each = count === 1 ? `vec4<u32>(${words})` : `${words}.${at.map((bit) => "xyzw"[bit >> 5]).join("")}`;
  return `(${each} >> vec4<u32>(${at.map((bit) => `${bit % 32}u`).join(", ")}))`;
}
