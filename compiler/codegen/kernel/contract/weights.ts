/**
 * Reading a weight in `matrix` layout: where a bank and a column start, and four rows of k for four columns at a time.
 */
import { FORMATS } from "../../../plan/format.ts";
import { groupOf, type MatrixSteps, matrixStart, matrixSteps, QUAD, quadSteps } from "../../../plan/layout.ts";
import { loadColumns, readFour, text, typeOfWords, wordsOfColumns } from "../../wgsl/unpack.ts";
import type { ColumnGroup, ContractSpec, MatrixOperand } from "./contract.ts";
import type { KernelWriter } from "../writer.ts";

/** Binds a weight; elements are vec4<f32>, or vectors of u32 with four columns of the rows that lie together. */
export function bindMatrix(w: KernelWriter, matrix: MatrixOperand): string {
  const { storage } = matrix;
  const type = storage === "f32" ? "vec4<f32>" : typeOfWords(wordsOfColumns(FORMATS[storage]));
  return w.bind(matrix.binding, `array<${type}>`, "read");
}

/** Loads that make four rows of k; from one to the next are `vectorsPerRow`. */
export function loadsPerQuad({ storage }: MatrixOperand): number {
  return QUAD / matrixSteps(FORMATS[storage], 0, 0).rows;
}

/** Vectors of four columns in a row of this group's matrices. */
export function vectorsPerRow(group: ColumnGroup): number {
  return Math.ceil(group.cols / QUAD);
}

/** Where four rows of k and four columns are: WGSL for the bank, or null; for `k`, a multiple of four; for the vector of columns. */
export interface QuadPlace {
  readonly bank: string | null;
  readonly k: string;
  readonly vector: string;
}

/** The name of the binding, and the index of the first vector there. */
export interface BoundQuad extends QuadPlace {
  readonly bound: string;
  readonly index: string;
}

/** Index of the first vector of these. */
export function vectorIndex(spec: ContractSpec, group: ColumnGroup, matrix: MatrixOperand, at: QuadPlace): string {
  const steps = matrixSteps(FORMATS[matrix.storage], spec.k, group.cols);
  return groupOf(text, quadSteps(steps), { bank: at.bank, k: at.k, n: at.vector });
}

/** Statements that declare `${name}0` .. `${name}3`, vec4<f32>: rows k .. k+3, whose first vector has the index `index`. */
export function loadQuad(
  w: KernelWriter,
  spec: ContractSpec,
  group: ColumnGroup,
  matrix: MatrixOperand,
  at: BoundQuad,
  name: string,
): string {
  const loads = Array.from({ length: loadsPerQuad(matrix) }, (_, i) => {
    return `${at.bound}[${at.index}${i === 0 ? "" : ` + ${i * vectorsPerRow(group)}u`}]`;
  });
  if (matrix.storage === "f32") return loads.map((load, i) => `let ${name}${i} = ${load};`).join("\n");
  const format = FORMATS[matrix.storage];
  const scale = format.block === null ? null : `${name}scale`;
  const rows = QUAD / loads.length;
  const quad = loads.flatMap((load, i) => [
    `let ${name}w${i} = ${load};`,
    ...Array.from({ length: rows }, (_, row) => {
      const value = loadColumns(format, `${name}w${i}`, row);
      return `let ${name}${i * rows + row} = ${scale === null ? value : `${scale} * ${value}`};`;
    }),
  ]);
  return [...(scale === null ? [] : [`let ${scale} = ${loadScales(w, spec, group, matrix, at)};`]), ...quad].join("\n");
}

/** The scales of four columns, a vec4<f32>; four rows of k share them. */
function loadScales(
  w: KernelWriter,
  spec: ContractSpec,
  group: ColumnGroup,
  matrix: MatrixOperand,
  { bound, ...at }: BoundQuad,
): string {
  const format = FORMATS[matrix.storage];
  const { size, scales } = format.block!;
  const steps = matrixSteps(scales, Math.ceil(spec.k / size), group.cols);
  const vectors: MatrixSteps = { ...steps, bank: steps.bank / QUAD, row: steps.row / QUAD };
  const block = `((${at.k}) / ${size}u)`;
  const index = groupOf(text, vectors, { bank: at.bank, k: block, n: at.vector });
  // The parts of a parameter share a kernel, and may hold fewer banks in the last.
  const banks = matrix.part.split === "bank" ? matrix.part.count : 1;
  const start = w.constant(`scales_of_${bound}`, matrixStart(format, banks, spec.k, group.cols) / 16);
  const words = readFour(bound, wordsOfColumns(format), `(${start} + ${index})`);
  return loadColumns(scales, words, `${block} % ${steps.rows}u`);
}
