/**
 * Reading a weight in `matrix` layout: where a bank and a column start, and four rows of k for four columns at a time. A transposed one, whose
 * layout another use has chosen, gives the same from where its columns lie as rows of k.
 */
import { FORMATS } from "../../../plan/format.ts";
import { groupOf, type MatrixSteps, matrixStart, matrixSteps, QUAD, quadSteps } from "../../../plan/layout.ts";
import { loadColumns, readFour, text, typeOfWords, wordsOfColumns } from "../../wgsl/unpack.ts";
import type { ColumnGroup, ContractionSpec, MatrixOperand } from "./contraction.ts";
import type { KernelWriter } from "../writer.ts";

/** Where four rows of k and four columns are: WGSL for the bank, or null; for `k`, a multiple of four; for the vector of columns. */
export interface QuadPlace {
  readonly bank: string | null;
  readonly k: string;
  readonly vector: string;
}

/** How a kernel reads one weight; an index is that of a vector in what is bound. */
export interface MatrixReader {
  /** Of the first vector of these. */
  readonly indexOf: (at: QuadPlace) => string;
  /** How much further the next four rows of k are. */
  readonly advance: number;
  /** Statements that declare `${name}0` .. `${name}3`, vec4<f32>: rows k .. k+3 of four columns, whose first vector has the index `index`. */
  readonly load: (at: QuadPlace, index: string, name: string) => string;
}

export function readMatrix(
  w: KernelWriter,
  spec: ContractionSpec,
  group: ColumnGroup,
  matrix: MatrixOperand,
): MatrixReader {
  const lying = lyingOf(w, spec, group, matrix);
  const steps = quadSteps(matrixSteps(FORMATS[matrix.storage], lying.k, lying.n));
  const indexOf = (at: QuadPlace): string => groupOf(text, steps, { bank: at.bank, k: at.k, n: at.vector });
  if (!matrix.transposed)
    return { indexOf, advance: steps.row, load: (at, index, name) => loadQuad(lying, at, index, name) };
  const turned = ({ bank, k, vector }: QuadPlace): QuadPlace => ({
    bank,
    k: `(${vector} * ${QUAD}u)`,
    vector: `(${k}) / ${QUAD}u`,
  });
  return {
    indexOf: (at) => indexOf(turned(at)),
    advance: 1,
    load: (at, index, name) =>
      [
        loadQuad(lying, turned(at), index, `${name}t`),
        // In registers: only names change.
        ...["x", "y", "z", "w"].map(
          (f, i) => `let ${name}${i} = vec4<f32>(${[0, 1, 2, 3].map((j) => `${name}t${j}.${f}`).join(", ")});`,
        ),
      ].join("\n"),
  };
}

/** A bound weight as it lies: so many rows of k, and columns, in each of so many banks. */
interface Lying {
  readonly w: KernelWriter;
  readonly bound: string;
  readonly storage: MatrixOperand["storage"];
  readonly banks: number;
  readonly k: number;
  readonly n: number;
}

function lyingOf(w: KernelWriter, spec: ContractionSpec, group: ColumnGroup, matrix: MatrixOperand): Lying {
  const { storage, part, transposed } = matrix;
  const type = storage === "f32" ? "vec4<f32>" : typeOfWords(wordsOfColumns(FORMATS[storage]));
  const [k, n] = transposed ? [group.cols, spec.k] : [spec.k, group.cols];
  const bound = w.bind(matrix.binding, `array<${type}>`, "read");
  return { w, bound, storage, banks: part.split === "bank" ? part.count : 1, k, n };
}

function loadQuad(lying: Lying, at: QuadPlace, index: string, name: string): string {
  const { storage, bound, n } = lying;
  const format = FORMATS[storage];
  const { rows } = matrixSteps(format, 0, 0);
  const stride = Math.ceil(n / QUAD);
  const loads = Array.from(
    { length: QUAD / rows },
    (_, i) => `${bound}[${index}${i === 0 ? "" : ` + ${i * stride}u`}]`,
  );
  if (storage === "f32") return loads.map((load, i) => `let ${name}${i} = ${load};`).join("\n");
  const scale = format.block === null ? null : `${name}scale`;
  const quad = loads.flatMap((load, i) => [
    `let ${name}w${i} = ${load};`,
    ...Array.from({ length: rows }, (_, row) => {
      const value = loadColumns(format, `${name}w${i}`, row);
      return `let ${name}${i * rows + row} = ${scale === null ? value : `${scale} * ${value}`};`;
    }),
  ]);
  return [...(scale === null ? [] : [`let ${scale} = ${loadScales(lying, at)};`]), ...quad].join("\n");
}

/** The scales of four columns, a vec4<f32>; four rows of k share them. */
function loadScales({ w, bound, storage, banks, k, n }: Lying, at: QuadPlace): string {
  const format = FORMATS[storage];
  const { size, scales } = format.block!;
  const steps = matrixSteps(scales, Math.ceil(k / size), n);
  const vectors: MatrixSteps = { ...steps, bank: steps.bank / QUAD, row: steps.row / QUAD };
  const block = `((${at.k}) / ${size}u)`;
  const index = groupOf(text, vectors, { bank: at.bank, k: block, n: at.vector });
  // The parts of a parameter share a kernel, and may hold fewer banks in the last.
  const start = w.constant(`scales_of_${bound}`, matrixStart(format, banks, k, n) / 16);
  const words = readFour(bound, wordsOfColumns(format), `(${start} + ${index})`);
  return loadColumns(scales, words, `${block} % ${steps.rows}u`);
}
