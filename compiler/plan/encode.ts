/** Numbers in a weight format, and what a weight format holds as numbers: what a host writes, and what a reference computes with. */
import type { Codes, Format } from "./format.ts";

export interface Encoded {
  /** One for each number, in their order. */
  readonly codes: Codes;
  /** Rounded to what they are kept in: [blocks, columns]; null for a format without blocks. */
  readonly scales: Float32Array | null;
}

/** Of numbers [rows, columns]; blocks are along the rows' axis, the last one perhaps shorter. */
export function encode(format: Format, values: Float32Array, columns: number): Encoded {
  const { block, narrow } = format;
  if (block === null) return { codes: narrow(values), scales: null };
  const largest = new Float32Array(countBlocks(values.length / columns, block.size) * columns);
  forEachRow(values, columns, block.size, (at, from) => {
    for (let n = 0; n < columns; n++) {
      const x = Math.abs(values[at + n]!);
      if (x > largest[from + n]!) largest[from + n] = x;
    }
  });
  const scales = block.scales.widen(block.scales.narrow(largest.map(block.scaleOf)));
  const over = new Float32Array(values.length);
  forEachRow(values, columns, block.size, (at, from) => {
    // A block whose scale is zero is zeros.
    for (let n = 0; n < columns; n++) over[at + n] = scales[from + n] === 0 ? 0 : values[at + n]! / scales[from + n]!;
  });
  return { codes: narrow(over), scales };
}

/** The numbers again. */
export function decode(format: Format, { codes, scales }: Encoded, columns: number): Float32Array {
  const values = format.widen(codes);
  if (format.block === null) return values;
  const out = new Float32Array(values.length);
  forEachRow(values, columns, format.block.size, (at, from) => {
    for (let n = 0; n < columns; n++) out[at + n] = scales![from + n]! * values[at + n]!;
  });
  return out;
}

export const countBlocks = (rows: number, size: number): number => Math.ceil(rows / size);

/** Where each row begins, and the scales of its block. */
function forEachRow(
  values: Float32Array,
  columns: number,
  size: number,
  visit: (at: number, from: number) => void,
): void {
  for (let k = 0; k * columns < values.length; k++) visit(k * columns, Math.floor(k / size) * columns);
}
