/**
 * Which elements of a parameter a term reads: a row-major array whose axes step through the parameter or pick from it. Slices,
 * repeats, selections and permutations along an axis are all picks; elements may be absent, and then count as zero.
 */

export interface View {
  readonly start: number;
  readonly axes: readonly ViewAxis[];
}

export interface ViewAxis {
  readonly size: number;
  /** From one index to the next, in elements. */
  readonly stride: number;
  /** The index that each index stands for, `ABSENT` for none; null: itself. */
  readonly picks: Int32Array | null;
}

export const ABSENT = -1;

/** The elements `start ..< start + product of sizes`, row-major. */
export function contiguousView(start: number, sizes: readonly number[]): View {
  const axes = sizes.map((size, i) => ({
    size,
    stride: sizes.slice(i + 1).reduce((a, b) => a * b, 1),
    picks: null,
  }));
  return { start, axes };
}

/** Index i of an axis becomes what was at `indices[i]`. */
export function pickAxis(view: View, axis: number, indices: Int32Array): View {
  const { stride, picks } = view.axes[axis]!;
  const composed = picks === null ? indices : indices.map((i) => (i === ABSENT ? ABSENT : picks[i]!));
  return { ...view, axes: view.axes.with(axis, { size: indices.length, stride, picks: composed }) };
}

/** `size` indices of an axis, from `start`. */
export function sliceAxis(view: View, axis: number, start: number, size: number): View {
  const { stride, picks } = view.axes[axis]!;
  if (picks !== null)
    return { ...view, axes: view.axes.with(axis, { size, stride, picks: picks.subarray(start, start + size) }) };
  return { start: view.start + start * stride, axes: view.axes.with(axis, { size, stride, picks }) };
}

/** The same view with as few axes as possible, at least one: neighbours that continue each other become one. */
export function collapseView({ start, axes }: View): View {
  const out: ViewAxis[] = [];
  for (const axis of axes) {
    if (axis.size === 1 && axis.picks === null) continue;
    const last = out.at(-1);
    if (last !== undefined && last.picks === null && axis.picks === null && last.stride === axis.stride * axis.size)
      out[out.length - 1] = { size: last.size * axis.size, stride: axis.stride, picks: null };
    else out.push(axis);
  }
  return { start, axes: out.length === 0 ? [{ size: 1, stride: 1, picks: null }] : out };
}

/** Whether all elements lie one after the other. */
export function isWhole({ axes }: View): boolean {
  return axes.length === 1 && axes[0]!.picks === null && axes[0]!.stride === 1;
}

/** From the first element that a view has to behind its last; nothing for one of absent elements. */
export function extentOf({ start, axes }: View): readonly [number, number] {
  let [first, last] = [start, start];
  for (const { size, stride, picks } of axes) {
    const there = picks?.filter((p) => p !== ABSENT);
    if (size === 0 || there?.length === 0) return [0, 0];
    const low = there === undefined ? 0 : there.reduce((a, b) => Math.min(a, b));
    const high = there === undefined ? size - 1 : there.reduce((a, b) => Math.max(a, b));
    first += low * stride;
    last += high * stride;
  }
  return [first, last + 1];
}

/** Elements `at ..< at + count` of the range, which lie at `start ..< start + count` of the parameter. */
export type VisitLine = (at: number, start: number, count: number) => void;

/** The elements `offset ..< offset + length` of a view, in order, as lines that are contiguous on both sides. */
export function eachLine(view: View, offset: number, length: number, visit: VisitLine): void {
  const inner = view.axes.at(-1)!;
  for (let at = 0; at < length;) {
    const column = (offset + at) % inner.size;
    const count = Math.min(inner.size - column, length - at);
    const base = rowStart(view, Math.floor((offset + at) / inner.size));
    if (base !== ABSENT) visitRow(inner, base, column, count, at, visit);
    at += count;
  }
}

/** Where a row of the innermost axis begins, from the indices of all others; `ABSENT` when one picks nothing. */
function rowStart({ start, axes }: View, row: number): number {
  let base = start;
  for (let i = axes.length - 2, rest = row; i >= 0; i--) {
    const { size, stride, picks } = axes[i]!;
    const index = picks === null ? rest % size : picks[rest % size]!;
    if (index === ABSENT) return ABSENT;
    base += index * stride;
    rest = Math.floor(rest / size);
  }
  return base;
}

function visitRow(
  { stride, picks }: ViewAxis,
  base: number,
  column: number,
  count: number,
  at: number,
  visit: VisitLine,
): void {
  if (picks === null && stride === 1) return visit(at, base + column, count);
  const indexAt = (i: number): number => (picks === null ? column + i : picks[column + i]!);
  for (let i = 0; i < count;) {
    const index = indexAt(i);
    let end = i + 1;
    if (index !== ABSENT) {
      while (stride === 1 && end < count && indexAt(end) === index + (end - i)) end++;
      visit(at + i, base + index * stride, end - i);
    }
    i = end;
  }
}
