/**
 * Reading a weight in `matrix` layout: where a bank and a column start, and four rows of k for four columns at a time.
 */
import { matrixSteps, type WeightFormat } from "../../../plan/format.ts";
import { unpackRows } from "../../wgsl/unpack.ts";
import type { ColumnGroup, ContractSpec, MatrixOperand } from "./contract.ts";
import type { KernelWriter } from "../writer.ts";

/** Binds a weight; elements are vec4<f32>, or vec4<u32> of 16-bit pairs. */
export function bindMatrix(w: KernelWriter, matrix: MatrixOperand): string {
  return w.bind(matrix.binding, matrix.storage === "f32" ? "array<vec4<f32>>" : "array<vec4<u32>>", "read");
}

/** Loads that make four rows of k; from one to the next are `vectorsPerRow`. */
export function loadsPerQuad(storage: WeightFormat): number {
  return matrixSteps(storage, 0, 0).perQuad;
}

/** Vectors of four columns in a row of this group's matrices. */
export function vectorsPerRow(group: ColumnGroup): number {
  return Math.ceil(group.cols / 4);
}

/** Index of the vector at `bank`, row `k` (a multiple of 4) and vector column `vector`. */
export function vectorIndex(
  spec: ContractSpec,
  group: ColumnGroup,
  matrix: MatrixOperand,
  bank: string | null,
  k: string,
  vector: string,
): string {
  const steps = matrixSteps(matrix.storage, spec.k, group.cols);
  const inBank = `(${k}) / 4u * ${(steps.perQuad * steps.row) / 4}u + ${vector}`;
  return bank === null ? inBank : `${bank} * ${steps.bank / 4}u + ${inBank}`;
}

/** Statements that declare `${name}0` .. `${name}3`, vec4<f32>: rows k .. k+3 from the vector at index `at`. */
export function loadQuad(matrix: MatrixOperand, bound: string, at: string, stride: number, name: string): string {
  const { storage } = matrix;
  const from = (i: number): string => `${bound}[${at}${i === 0 ? "" : ` + ${i * stride}u`}]`;
  if (storage === "f32") return [0, 1, 2, 3].map((i) => `let ${name}${i} = ${from(i)};`).join("\n");
  return [0, 1]
    .flatMap((i) => {
      const words = `${name}w${i}`;
      const { even, odd } = unpackRows(storage, words);
      return [`let ${words} = ${from(i)};`, `let ${name}${2 * i} = ${even};`, `let ${name}${2 * i + 1} = ${odd};`];
    })
    .join("\n");
}
