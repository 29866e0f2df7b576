/** WGSL for elements of a weight, one or a run of four, out of a part of it in either layout and any format. */
import type { Binding } from "../../plan/plan.ts";
import { type Format, FORMATS, type WeightFormat } from "../../plan/format.ts";
import { groupOf, matrixStart, matrixSteps, perWord, plainStart, QUAD } from "../../plan/layout.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import {
  loadColumns,
  loadElement,
  loadRun,
  readFour,
  text,
  typeOfWords,
  wordsOfColumns,
  wordsOfRun,
} from "../wgsl/unpack.ts";
import type { Run } from "./indexing.ts";
import { typeText } from "./text.ts";

/** Where a part's elements are bound, and in which format. */
export interface WeightPart {
  readonly storage: WeightFormat;
  readonly binding: Binding;
}

/** Element `i` of a plain part of `count`, or those from there on. */
export function loadPlain(w: KernelWriter, part: WeightPart, count: number, i: string, run: Run): string {
  if (part.storage === "f32") return bindFloats(w, part, run, i);
  const format = FORMATS[part.storage];
  const { block } = format;
  const scale = (b: NonNullable<Format["block"]>): string =>
    elementAt(w, part, b.scales, plainStart(format, count), `((${i}) / ${b.size}u)`);
  const value = run === null ? elementAt(w, part, format, 0, i) : runAt(w, part, format, i);
  return block === null ? value : `(${scale(block)} * ${value})`;
}

/** Sizes of a part in `matrix` layout. */
export interface MatrixShape {
  readonly banks: number;
  readonly k: number;
  readonly n: number;
}

export interface MatrixPlace {
  readonly bank: string | null;
  readonly k: string;
  readonly n: string;
}

/** Element (bank, k, n) of a part, or the columns from n on. */
export function loadMatrix(w: KernelWriter, part: WeightPart, shape: MatrixShape, at: MatrixPlace, run: Run): string {
  const format = FORMATS[part.storage];
  if (part.storage === "f32")
    return bindFloats(w, part, run, `(${groupOf(text, matrixSteps(format, shape.k, shape.n), at)})`);
  const { block } = format;
  const value = cellAt(w, part, `rows_${part.storage}`, format, 0, shape, at, run);
  if (block === null) return value;
  const start = matrixStart(format, shape.banks, shape.k, shape.n);
  const scales = { ...shape, k: Math.ceil(shape.k / block.size) };
  const ofBlock = { ...at, k: `((${at.k}) / ${block.size}u)` };
  return `(${cellAt(w, part, `scales_${part.storage}`, block.scales, start, scales, ofBlock, run)} * ${value})`;
}

function bindFloats(w: KernelWriter, { binding }: WeightPart, run: Run, i: string): string {
  return `${w.bind(binding, `array<${typeText("f32", run)}>`, "read")}[${run === null ? i : `${i} / 4u`}]`;
}

function bindWords(w: KernelWriter, { binding }: WeightPart, count: number): string {
  return w.bind(binding, `array<${typeOfWords(count)}>`, "read");
}

/** Element `i` of an array that begins at byte `start`. */
function elementAt(w: KernelWriter, part: WeightPart, format: Format, start: number, i: string): string {
  const per = perWord(format);
  return loadElement(format, wordAt(w, part, start, per === 1 ? i : `(${i}) >> ${Math.log2(per)}u`), i);
}

function wordAt(w: KernelWriter, part: WeightPart, start: number, word: string): string {
  return `${bindWords(w, part, 1)}[${start === 0 ? word : `${start / 4}u + (${word})`}]`;
}

/** Four of the elements of the part itself, which is an array. */
function runAt(w: KernelWriter, part: WeightPart, format: Format, i: string): string {
  const name = `quad_${part.storage}`;
  const count = wordsOfRun(format);
  const words = `${bindWords(w, part, count)}[(${i}) / ${Math.max(QUAD, perWord(format))}u]`;
  declare(w, name, count, loadRun(format, "w", "i"));
  return `${name}(${words}, ${i})`;
}

/** One or four cells of a matrix of elements, or of scales from byte `start` on. */
function cellAt(
  w: KernelWriter,
  part: WeightPart,
  name: string,
  format: Format,
  start: number,
  shape: MatrixShape,
  at: MatrixPlace,
  run: Run,
): string {
  const steps = matrixSteps(format, shape.k, shape.n);
  const group = `(${groupOf(text, steps, at)})`;
  if (run === null) {
    // A group is a word, or shares one with its neighbour.
    if (steps.rows === perWord(format)) return loadElement(format, wordAt(w, part, start, group), at.k);
    return elementAt(w, part, format, start, `(${group} * ${steps.rows}u + (${at.k}) % ${steps.rows}u)`);
  }
  const vector = start === 0 ? `${group} / 4u` : `(${start / 16}u + ${group} / 4u)`;
  const own = wordsOfColumns(FORMATS[part.storage]);
  const bound = bindWords(w, part, own);
  declare(w, name, wordsOfColumns(format), loadColumns(format, "w", `i % ${steps.rows}u`));
  return `${name}(${start === 0 ? `${bound}[${vector}]` : readFour(bound, own, vector)}, ${at.k})`;
}

/** A function that makes four numbers of the words that hold them, and of where they are. */
function declare(w: KernelWriter, name: string, words: number, body: string): void {
  w.global(name, `fn ${name}(w: ${typeOfWords(words)}, i: u32) -> vec4<f32> {\n  return ${body};\n}`);
}
