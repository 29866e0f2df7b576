/**
 * Reading a weight in `matrix` layout: where a bank and a column start, and four rows of k for four columns at a time.
 */
import type { StorageType } from "../../../plan/plan.ts";
import { unpackRows } from "../../wgsl/unpack.ts";
import type { ColumnGroup, ContractSpec, MatrixOperand } from "./contract.ts";
import type { KernelWriter } from "../writer.ts";

/** Binds a weight; elements are vec4<f32>, or vec4<u32> of 16-bit pairs. */
export function bindMatrix(w: KernelWriter, matrix: MatrixOperand): string {
  return w.bind(matrix.binding, matrix.storage === "f32" ? "array<vec4<f32>>" : "array<vec4<u32>>", "read");
}

/** Vectors from one load to the next along k, and loads that make four rows of k. */
export function loadsPerQuad(storage: StorageType): number {
  return storage === "f32" ? 4 : 2;
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
  const stride = vectorsPerRow(group);
  const rows = (Math.ceil(spec.k / 4) * 4 * loadsPerQuad(matrix.storage)) / 4;
  const inBank = `(${k}) / 4u * ${loadsPerQuad(matrix.storage) * stride}u + ${vector}`;
  return bank === null ? inBank : `${bank} * ${rows * stride}u + ${inBank}`;
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
