/**
 * The inner loop that the register-blocked contractions share: a few rows of A times four columns per invocation, four
 * steps of k at a time, everything in registers. With `lanes`, invocation i of a subgroup loads row i of each batch of
 * rows and broadcasts it, so that a row costs one load per subgroup instead of one per invocation: on software adapters
 * every load is a sequence per lane, and this is what makes the loop three times as fast. The body stays small, because
 * a longer one (unrolled further) falls out of the instruction cache.
 */
import type { ColumnGroup, ContractionSpec } from "./contraction.ts";
import { type QuadPlace, readMatrix } from "./weights.ts";
import type { KernelWriter } from "../writer.ts";

export interface RowBlock {
  readonly rows: number;
  /** Lanes of a subgroup that share the rows, or null: every invocation loads every row. `rows` is then a multiple. */
  readonly lanes: number | null;
  /** A's row for row `i` of the block, a WGSL u32 expression in bounds for every i < rows. */
  readonly aRow: (i: string) => string;
  /** WGSL: bank of the weights, or null. */
  readonly bank: string | null;
  /** WGSL: this invocation's vector of four columns, in bounds. */
  readonly vector: string;
  /** WGSL: first k and step of k, multiples of 4. */
  readonly from: string;
  readonly step: number;
  /** Steps whose loads are under way together: what hides the memory's latency on a GPU. */
  readonly ahead: number;
}

/** Statements, and for each matrix the names of the sums (vec4<f32>) of each row. */
export interface RowSums {
  readonly text: string;
  readonly sums: readonly (readonly string[])[];
}

export function emitRowBlock(w: KernelWriter, spec: ContractionSpec, group: ColumnGroup, block: RowBlock): RowSums {
  const k = w.fresh("k");
  const matrices = group.matrices.map((operand) => ({
    reader: readMatrix(w, spec, group, operand),
    at: w.fresh("at"),
    quad: w.fresh("b"),
    sums: Array.from({ length: block.rows }, () => w.fresh("sum")),
  }));
  // Rows that this invocation loads itself: all of them, or one of each batch of lanes.
  const loads = block.lanes === null ? block.rows : block.rows / block.lanes;
  const own = Array.from({ length: loads }, (_, i) => ({
    row: w.fresh("row"),
    a: w.fresh("a"),
    at: block.lanes === null ? `${i}u` : `${i * block.lanes}u + sg_lane`,
  }));
  if (block.lanes !== null) w.feature("subgroups");

  // One matrix after the other, where rows are broadcast even in a loop of its own: its four rows of weights stay in
  // registers while all rows of A pass, and a loop over two matrices would have twice the sums to keep.
  const multiply = (matrix: (typeof matrices)[number], turn: number): string[] =>
    own.flatMap(({ a }, i) =>
      Array.from({ length: block.lanes ?? 1 }, (_, lane) => {
        const sum = matrix.sums[i * (block.lanes ?? 1) + lane] as string;
        const v = block.lanes === null ? `${a}_${turn}` : w.fresh("v");
        const step = ["x", "y", "z", "w"].reduce(
          (s, c, j) => `fma(vec4<f32>(${v}.${c}), ${matrix.quad}${turn}_${j}, ${s})`,
          sum,
        );
        return [
          ...(block.lanes === null ? [] : [`let ${v} = subgroupBroadcast(${a}_${turn}, ${lane}u);`]),
          `${sum} = ${step};`,
        ].join("\n");
      }),
    );
  const turns = Array.from({ length: block.ahead }, (_, turn) => turn);
  const steps = block.step / 4;
  const placeAt = (turn: number): QuadPlace => ({ ...block, k: plus(k, turn * block.step) });
  /** The loop over k, `count` steps at a time while so many are left; all loads of a pass come before its products. */
  const loop = (pass: readonly (typeof matrices)[number][], count: number): string[] => [
    `for (; ${plus(k, (count - 1) * block.step)} < ${spec.k}u * once; ${k} += ${count * block.step}u) {`,
    ...turns
      .slice(0, count)
      .flatMap((turn) => [
        ...own.map(({ row, a }) => `let ${a}_${turn} = ${loadA(w, spec, row, plus(k, turn * block.step))};`),
        ...pass.map(({ reader, at, quad }) =>
          reader.load(placeAt(turn), plus(at, turn * steps * reader.advance), `${quad}${turn}_`),
        ),
      ]),
    ...turns.slice(0, count).flatMap((turn) => pass.flatMap((m) => multiply(m, turn))),
    ...pass.map(({ reader, at }) => `${at} += ${count * steps * reader.advance}u;`),
    "}",
  ];
  const text = [
    ...own.map(({ row, at }) => `let ${row} = ${block.aRow(at)};`),
    ...matrices.flatMap(({ reader, at, sums }) => [
      `var ${at} = ${reader.indexOf({ ...block, k: block.from })};`,
      ...sums.map((s) => `var ${s} = vec4<f32>();`),
    ]),
    ...(block.lanes === null ? [matrices] : matrices.map((m) => [m])).flatMap((pass, i) => [
      `${i === 0 ? "var " : ""}${k} = ${block.from};`,
      ...(block.ahead === 1 ? [] : loop(pass, block.ahead)),
      ...loop(pass, 1),
    ]),
  ];
  return { text: text.join("\n"), sums: matrices.map(({ sums }) => sums) };
}

const plus = (name: string, n: number): string => (n === 0 ? name : `(${name} + ${n}u)`);

/** A at k .. k+3 as a vec4<f32>. Past the end of k the last element stands in: the weights are zero there. */
export function loadA(w: KernelWriter, spec: ContractionSpec, row: string, k: string): string {
  if (spec.k % 4 === 0) return spec.a(w, 4, row, k);
  const at = [0, 1, 2, 3].map((i) => spec.a(w, 1, row, i === 0 ? k : `min(${k} + ${i}u, ${spec.k - 1}u)`));
  return `vec4<f32>(${at.join(", ")})`;
}
