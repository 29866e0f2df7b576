/**
 * What the `decode` templates share. One row: four columns per invocation and a loop of five loads, a streaming read of the
 * weights. Several rows: as many as share a load of the weights, by the same loop as the `prefill` kernels, chosen when the
 * kernel runs. Routed: a workgroup per choice, or, with `combine`, per token over all its choices. With `splits` > 1 the
 * invocations of a workgroup also divide k, and their sums meet in workgroup memory.
 */
import type { ColumnGroup, EmittedKernel, ContractionSpec, Routing } from "./contraction.ts";
import {
  chooseBank,
  columnBlocks,
  denseRows,
  forEachGroup,
  rowOfChoice,
  storeRow,
  storeRows,
  vectorOf,
} from "./places.ts";
import { emitRowBlock, type RowBlock } from "./row-block.ts";
import { KernelWriter } from "../writer.ts";

export interface FewShape {
  /** Invocations side by side over columns, and how many such sets divide k. */
  readonly columns: number;
  readonly splits: number;
  /** Rows that share a load of the weights, and the subgroup size when they are broadcast. */
  readonly height: number;
  readonly lanes: number | null;
  /** Steps of k whose loads are under way together. */
  readonly ahead: number;
}

export function emitDecode(spec: ContractionSpec, shape: FewShape): EmittedKernel {
  return spec.routing === null ? emitDense(spec, shape) : emitGather(spec, spec.routing, shape);
}

function emitDense(spec: ContractionSpec, shape: FewShape): EmittedKernel {
  const w = new KernelWriter();
  declarePartial(w, spec, shape, shape.height);
  const rows = denseRows(w, spec, shape.height, columnBlocks(spec, shape.columns * 4).total);
  const aRow = (i: string): string => rows.aRow(`min(${i}, ${rows.count} - 1u)`);
  const body = forEachGroup(spec, shape.columns * 4, columnOf(shape), (group) => {
    const at = { bank: null, vector: "vector", ...stepOf(shape) };
    const one = emitRowBlock(w, spec, group, { ...at, rows: 1, lanes: null, aRow: () => rows.aRow("0u") });
    // Several rows have loads enough under way.
    const several = emitRowBlock(w, spec, group, { ...at, rows: shape.height, lanes: shape.lanes, ahead: 1, aRow });
    const store = (sums: readonly (readonly string[])[]): string =>
      shape.splits > 1
        ? storeSplit(w, group, shape, rows.count, rows.row, sums)
        : sums[0]?.length === 1
          ? storeOne(
              w,
              group,
              rows.row("0u"),
              sums.map((s) => s[0] as string),
            )
          : storeRows(w, group, rows, sums);
    return `let vector = ${vectorOf(group)};
if (${rows.count} == 1u) {
${one.text}
${store(one.sums)}
} else {
${several.text}
${store(several.sums)}
}`;
  });
  const module = w.finish(spec.id, [shape.columns * shape.splits, 1, 1], `${rows.text}\n${body}`);
  return { module, grid: [rows.grid, 1, 1], bindings: w.bindings, constants: w.constants };
}

function emitGather(spec: ContractionSpec, routing: Routing, shape: FewShape): EmittedKernel {
  const w = new KernelWriter();
  declarePartial(w, spec, shape, 1);
  const { total } = columnBlocks(spec, shape.columns * 4);
  const index = w.bind(routing.index, "array<u32>", "read");
  // With `combine` teams of invocations take choices of the token side by side.
  const teams = routing.combine === null ? 1 : largestPower(Math.min(routing.choices, shape.splits));
  const team = { ...shape, splits: shape.splits / teams };
  const sum = (group: ColumnGroup, choice: string): { readonly text: string; readonly sums: readonly string[] } => {
    const aRow = (): string => rowOfChoice(routing, choice);
    const { text, sums } = emitRowBlock(w, spec, group, {
      rows: 1,
      lanes: null,
      aRow,
      bank: "bank",
      vector: "vector",
      ...stepOf(team),
    });
    return { text, sums: sums.map((s) => s[0] as string) };
  };
  const store = (group: ColumnGroup, sums: readonly string[]): string =>
    shape.splits > 1
      ? storeSplit(
          w,
          group,
          shape,
          "1u",
          () => "row",
          sums.map((s) => [s]),
        )
      : storeOne(w, group, "row", sums);
  const one = (group: ColumnGroup): string => {
    const { text, sums } = sum(group, "row");
    return `${chooseBank(w, spec, `${index}[row]`, "return;")}\n${text}\n${store(group, sums)}`;
  };
  const combined = (group: ColumnGroup, scale: (w: KernelWriter, choice: string) => string): string => {
    const totals = group.matrices.map(() => w.fresh("total"));
    const { text, sums } = sum(group, "choice");
    return `${totals.map((t) => `var ${t} = vec4<f32>();`).join("\n")}
for (var choice = row * ${routing.choices}u + ${teams === 1 ? "0u" : `lane / ${team.columns * team.splits}u`}; choice < (row + 1u) * ${routing.choices}u; choice += ${teams}u) {
${chooseBank(w, spec, `${index}[choice]`, "continue;")}
${text}
let scale = ${scale(w, "choice")};
${totals.map((t, i) => `${t} += scale * ${sums[i]};`).join("\n")}
}
${store(group, totals)}`;
  };
  const body = forEachGroup(spec, shape.columns * 4, columnOf(shape), (group) => {
    const inner = routing.combine === null ? one(group) : combined(group, routing.combine.scale);
    return `let vector = ${vectorOf(group)};\n${inner}`;
  });
  const text = `
let row = group / ${total}u;
let block = group % ${total}u;
if (row >= ${spec.rowCount(w)}) { return; }
${body}`;
  const module = w.finish(spec.id, [shape.columns * shape.splits, 1, 1], text);
  return { module, grid: [["*", spec.rows, total], 1, 1], bindings: w.bindings, constants: w.constants };
}

function columnOf({ columns, splits }: FewShape): (block: string) => string {
  return (block) => `(${block} * ${columns}u + lane${splits > 1 ? ` % ${columns}u` : ""}) * 4u`;
}

function stepOf({ columns, splits, ahead }: FewShape): Pick<RowBlock, "from" | "step" | "ahead"> {
  return { from: splits > 1 ? `(lane / ${columns}u % ${splits}u * 4u)` : "0u", step: 4 * splits, ahead };
}

/** The largest power of two that is not above `n`. */
const largestPower = (n: number): number => 2 ** Math.floor(Math.log2(n));

function storeOne(w: KernelWriter, group: ColumnGroup, row: string, sums: readonly string[]): string {
  return `if (column < ${group.cols}u) {\n${storeRow(w, group, row, sums)}\n}`;
}

/** Room for the sums of all rows and matrices of the widest group. */
function declarePartial(w: KernelWriter, spec: ContractionSpec, { columns, splits }: FewShape, rows: number): void {
  if (splits === 1) return;
  const sums = rows * Math.max(...spec.groups.map((g) => g.matrices.length));
  w.global("partial", `var<workgroup> partial: array<vec4<f32>, ${columns * splits * sums}>;`);
}

/** Adds up what the splits of k have, always in the same order: one invocation per row and four columns. */
function storeSplit(
  w: KernelWriter,
  group: ColumnGroup,
  { columns, splits }: FewShape,
  count: string,
  row: (i: string) => string,
  sums: readonly (readonly string[])[],
): string {
  const size = columns * splits;
  const rows = sums[0]?.length ?? 0;
  const totals = sums.map(() => w.fresh("total"));
  return `${sums.flatMap((s, m) => s.map((sum, r) => `partial[${(m * rows + r) * size}u + lane] = ${sum};`)).join("\n")}
workgroupBarrier();
let r = lane / ${columns}u;
if (r < min(${rows}u, ${count}) && column < ${group.cols}u) {
${totals.map((t) => `var ${t} = vec4<f32>();`).join("\n")}
for (var split = 0u; split < ${splits}u; split++) {
let at = r * ${size}u + split * ${columns}u + lane % ${columns}u;
${totals.map((t, m) => `${t} += partial[${m * rows * size}u + at];`).join("\n")}
}
${storeRow(w, group, row("r"), totals)}
}`;
}
