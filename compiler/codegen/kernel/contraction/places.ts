/**
 * Which rows and which columns a workgroup computes, and where results go. Column groups lie side by side in blocks of
 * columns; rows are cut into blocks, or come as tiles of choices that share a bank. Rows run faster than columns, so that
 * workgroups that run together read the same weights.
 */
import type { Size } from "../../../plan/plan.ts";
import type { ColumnGroup, ContractionSpec, Routing } from "./contraction.ts";
import type { KernelWriter } from "../writer.ts";

export interface Rows {
  /** Statements, that leave `main` where there is nothing to do; afterwards `block` is the block of columns. */
  readonly text: string;
  /** WGSL: rows of this workgroup's block that exist, >= 1. */
  readonly count: string;
  /** WGSL: row of the output, and row of A, for row i of the block; in bounds for i < count. */
  readonly row: (i: string) => string;
  readonly aRow: (i: string) => string;
  readonly bank: string | null;
  /** Workgroups. */
  readonly grid: Size;
}

/** Tiles that a grouped contraction over `choices` choices is given room for; those it does not need are empty. */
export function tileCount(choices: Size, banks: number, tileRows: number): Size {
  return ["+", ["ceil", choices, tileRows], ["min", banks, choices]];
}

/** Columns cut into blocks of `width`: how many, and where each group's begin. */
export function columnBlocks(
  spec: ContractionSpec,
  width: number,
): { readonly total: number; readonly starts: readonly number[] } {
  let total = 0;
  const starts = spec.groups.map((g) => {
    const start = total;
    total += Math.ceil(g.cols / width);
    return start;
  });
  return { total, starts };
}

/** Rows in blocks of `height`, in order. */
export function denseRows(w: KernelWriter, spec: ContractionSpec, height: number, blocks: number): Rows {
  const text = `
let rows = ${spec.rowCount(w)};
let row_blocks = (rows + ${height - 1}u) / ${height}u;
let block = group / row_blocks;
if (block >= ${blocks}u) { return; }
let first = group % row_blocks * ${height}u;
let count = min(${height}u, rows - first);`;
  const row = (i: string): string => `(first + ${i})`;
  return { text, count: "count", row, aRow: row, bank: null, grid: ["*", ["ceil", spec.rows, height], blocks] };
}

/** Rows from the tile map, `height` at a time; `routing.tileRows` is a multiple of it. */
export function tiledRows(
  w: KernelWriter,
  spec: ContractionSpec,
  routing: Routing,
  height: number,
  blocks: number,
): Rows {
  if (routing.order === null || routing.tiles === null)
    throw new Error(`${spec.id}: a grouped contraction needs the order and the tiles`);
  const order = w.bind(routing.order, "array<u32>", "read");
  const tiles = w.bind(routing.tiles, "array<vec4<u32>>", "read");
  const parts = routing.tileRows / height;
  const text = `
let rows = ${spec.rowCount(w)};
let tiles = ((rows + ${routing.tileRows - 1}u) / ${routing.tileRows}u + min(rows, ${routing.banks}u)) * ${parts}u;
let block = group / tiles;
if (block >= ${blocks}u) { return; }
let part = group % tiles;
let tile = ${tiles}[part / ${parts}u];
let skip = part % ${parts}u * ${height}u;
if (skip >= tile.z) { return; }
${chooseBank(w, spec, "tile.x", "return;")}
let first = tile.y + skip;
let count = min(${height}u, tile.z - skip);`;
  const row = (i: string): string => `${order}[first + ${i}]`;
  const grid: Size = ["*", tileCount(spec.rows, routing.banks, routing.tileRows), parts * blocks];
  return { text, count: "count", row, aRow: (i) => rowOfChoice(routing, row(i)), bank: "bank", grid };
}

/** A's row for a choice. */
export function rowOfChoice(routing: Routing, choice: string): string {
  return routing.aPer === "choice" || routing.choices === 1 ? choice : `(${choice} / ${routing.choices}u)`;
}

/** Declares `bank`, the index within the bound part, and runs `otherwise` for a bank that another part holds. */
export function chooseBank(w: KernelWriter, spec: ContractionSpec, bank: string, otherwise: string): string {
  const routing = spec.routing as Routing;
  const { start, count } = bankPart(spec);
  if (start === 0 && count === routing.banks) return `let bank = ${bank};\nif (bank >= ${count}u) { ${otherwise} }`;
  const from = w.constant("bank_start", start);
  return `let bank = ${bank} - ${from};\nif (${bank} < ${from} || bank >= ${w.constant("bank_count", count)}) { ${otherwise} }`;
}

/** The banks that a kernel's weights hold: the same for all of them. */
export function bankPart(spec: ContractionSpec): { readonly start: number; readonly count: number } {
  const banks = spec.routing?.banks ?? 1;
  const parts = spec.groups.flatMap((g) =>
    g.matrices.map((m) => (m.part.split === "bank" ? m.part : { start: 0, count: banks })),
  );
  const first = parts[0] ?? { start: 0, count: banks };
  if (parts.some((p) => p.start !== first.start || p.count !== first.count))
    throw new Error(`${spec.id}: its weights hold different banks`);
  return first;
}

/** `body` for the column group of `block`, with `column` declared: the first of this invocation's four columns. */
export function forEachGroup(
  spec: ContractionSpec,
  width: number,
  column: (block: string) => string,
  body: (group: ColumnGroup) => string,
): string {
  const { starts } = columnBlocks(spec, width);
  const branches = spec.groups.map((g, i) => {
    const local = starts[i] === 0 ? "block" : `(block - ${starts[i]}u)`;
    const test = i + 1 < starts.length ? `if (block < ${starts[i + 1]}u) ` : "";
    return `${test}{\nlet column = ${column(local)};\n${body(g)}\n}`;
  });
  return branches.join(" else ");
}

/** WGSL: this invocation's vector of four columns, kept in bounds. */
export function vectorOf(group: ColumnGroup): string {
  return `min(column / 4u, ${Math.ceil(group.cols / 4) - 1}u)`;
}

/** Stores the sums of one row; `column` is known to be below the group's columns. */
export function storeRow(w: KernelWriter, group: ColumnGroup, row: string, sums: readonly string[]): string {
  const at = w.fresh("row");
  const declare = `let ${at} = ${row};`;
  if (group.cols % 4 === 0) return `${declare}\n${group.store(w, 4, at, "column", sums)}`;
  const c = w.fresh("c");
  const col = w.fresh("col");
  const scalars = sums.map(() => w.fresh("sum"));
  return `${declare}
for (var ${c} = 0u; ${c} < min(4u, ${group.cols}u - column) * once; ${c}++) {
let ${col} = column + ${c};
${scalars.map((s, i) => `let ${s} = ${sums[i]}[${c}];`).join("\n")}
${group.store(w, 1, at, col, scalars)}
}`;
}

/**
 * Stores a block of rows in a loop: one copy of the epilogue, whatever the number of rows. The sums are of the rows from
 * `own` on, where invocations of a workgroup hold different ones.
 */
export function storeRows(
  w: KernelWriter,
  group: ColumnGroup,
  rows: Rows,
  sums: readonly (readonly string[])[],
  own: string | null = null,
): string {
  const r = w.fresh("r");
  const all = sums.map((s) => ({ array: w.fresh("sums"), one: w.fresh("sum"), s }));
  const height = sums[0]?.length ?? 0;
  const end = own === null ? rows.count : `min(${height}u, max(${rows.count}, ${own}) - ${own})`;
  return `if (column < ${group.cols}u) {
${all.map(({ array, s }) => `var ${array} = array<vec4<f32>, ${height}>(${s.join(", ")});`).join("\n")}
for (var ${r} = 0u; ${r} < ${end} * once; ${r}++) {
${all.map(({ array, one }) => `let ${one} = ${array}[${r}];`).join("\n")}
${storeRow(
  w,
  group,
  rows.row(own === null ? r : `(${own} + ${r})`),
  all.map(({ one }) => one),
)}
}
}`;
}
