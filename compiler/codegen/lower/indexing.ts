/**
 * Index arithmetic as WGSL text. An index gives a u32 expression for every axis label of a value; a flat index is its
 * row-major element number. `Run` is a label along which four consecutive elements, starting at a multiple of four, are
 * wanted at once.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis, TensorType } from "../../graph/type.ts";
import { findAxis } from "../../graph/type.ts";
import { fixedOnly, type WriteSize } from "../../ops/size-text.ts";

export type Index = ReadonlyMap<string, string>;
export type Run = string | null;

/** Row-major element number of an index over `axes`; `size` writes those known at run time only. */
export function flatten(axes: readonly Axis[], index: Index, size: WriteSize = fixedOnly): string {
  const text = axes.reduce((sum, axis) => {
    if (axis.size.value === 1) return sum;
    const i = at(index, axis.name);
    return sum === "" ? i : `(${sum} * ${size(axis.size)} + ${i})`;
  }, "");
  return text === "" ? "0u" : text;
}

/** The inverse: an index over `axes` from an element number; the leading axis takes what is left. */
export function unflatten(axes: readonly Axis[], flat: string, size: WriteSize = fixedOnly): Index {
  let below = Dim.of(1);
  const index = new Map<string, string>();
  // Leading axes of size one would otherwise take the whole quotient.
  const first = axes.findIndex((a) => a.size.value !== 1);
  for (const [i, axis] of [...axes.entries()].reverse()) {
    if (axis.size.value === 1) {
      index.set(axis.name, "0u");
      continue;
    }
    const quotient = below.value === 1 ? flat : `(${flat} / ${size(below)})`;
    index.set(axis.name, i === first ? quotient : `(${quotient} % ${size(axis.size)})`);
    below = below.times(axis.size);
  }
  return index;
}

export function at(index: Index, label: string): string {
  const i = index.get(label);
  if (i === undefined) throw new Error(`no index along ${label}`);
  return i;
}

/** The part of an index that a type has. */
export function restrict(index: Index, type: TensorType): Index {
  return new Map(type.axes.map((a) => [a.name, at(index, a.name)]));
}

/** The index `lane` elements further along the run. */
export function shift(index: Index, run: string, lane: number): Index {
  return lane === 0 ? index : new Map(index).set(run, `(${at(index, run)} + ${lane}u)`);
}

/** True when whole runs cover the axis. */
export function hasRuns(type: TensorType, label: string): boolean {
  const size = findAxis(type, label)?.size.value ?? null;
  return size !== null && size % 4 === 0;
}

/** Where a run along a view's axis lies in its input: a label there, or null when the four elements are not a run. */
export function runThrough(node: Node, run: string): Run {
  const [input] = node.inputs;
  if (input === undefined) return null;
  if (isOp(node, "rename")) return run === node.attrs.to ? node.attrs.from : run;
  if (isOp(node, "split")) {
    const { axis, into } = node.attrs;
    if (!into.some((a) => a.name === run)) return run;
    return into.at(-1)?.name === run && hasRuns(node.type, run) ? axis : null;
  }
  if (isOp(node, "merge")) {
    const last = node.attrs.axes.at(-1);
    if (run !== node.attrs.to.name) return run;
    return last !== undefined && hasRuns(input.type, last) ? last : null;
  }
  if (isOp(node, "slice")) {
    if (run !== node.attrs.to.name) return run;
    return node.attrs.start % 4 === 0 ? node.attrs.axis : null;
  }
  if (isOp(node, "roll"))
    return run !== node.attrs.axis || (node.attrs.by % 4 === 0 && hasRuns(node.type, run)) ? run : null;
  return run;
}
