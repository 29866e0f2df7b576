/**
 * What an expression of an upcycling stands for: arrays whose elements are sums over views of sources and of fresh values.
 * Subtrees are arrays by path. What is asked for comes from the target: its axes, whose sizes an operator may change.
 */
import { ABSENT, collapseView, pickAxis, sliceAxis, type View } from "./view.ts";
import type { Like, Term } from "./recipe.ts";

/** One parameter of the target, or of what an operator needs to make it. */
export interface Demand {
  /** Path below the left side, by which subtrees correspond; empty for a parameter itself. */
  readonly relative: string;
  /** Path of the parameter in the target, and of the left side. */
  readonly path: string;
  readonly root: string;
  /** Which of its banks' elements this is, counted over all bank axes. */
  readonly ordinal: number;
  /** Without the bank axes that are fixed. A size of null: as many as there are. */
  readonly axes: readonly DemandAxis[];
}

export interface DemandAxis {
  readonly name: string;
  readonly size: number | null;
}

export interface ArrayValue {
  readonly sizes: readonly number[];
  /** Their views have the axes of `sizes`. */
  readonly terms: readonly Term[];
}

/** What an expression gives for a demand; null after reporting, or silently where the default rule has no counterpart. */
export type Tree = (demand: Demand, partial: boolean) => ArrayValue | null;

/** The axis of a demand by its name, with or without primes; -1 when it has none. */
export function findAxis({ axes }: Demand, name: string): number {
  const exact = axes.findIndex((a) => a.name === name);
  return exact >= 0 ? exact : axes.findIndex((a) => a.name.replace(/'+$/, "") === name);
}

export function resizeDemand(demand: Demand, axis: number, size: number | null): Demand {
  return { ...demand, axes: demand.axes.with(axis, { ...demand.axes[axis]!, size }) };
}

/** Terms of weight 0 go, so that an interpolation has its ends byte for byte. */
export function scaleTerms(terms: readonly Term[], factor: number): readonly Term[] {
  return factor === 0 ? [] : terms.map((t) => ({ ...t, weight: t.weight * factor }));
}

export function addArrays(a: ArrayValue, b: ArrayValue, sign: 1 | -1): ArrayValue {
  return { sizes: a.sizes, terms: [...a.terms, ...scaleTerms(b.terms, sign)] };
}

/** Index i of an axis becomes what was at `indices[i]`. */
export function pickArray(value: ArrayValue, axis: number, indices: Int32Array): ArrayValue {
  return mapViews(value, axis, indices.length, (view) => pickAxis(view, axis, indices));
}

/** `size` indices of an axis, from `start`. */
export function sliceArray(value: ArrayValue, axis: number, start: number, size: number): ArrayValue {
  return mapViews(value, axis, size, (view) => sliceAxis(view, axis, start, size));
}

/** `a` and then `b` along an axis. */
export function concatArrays(a: ArrayValue, b: ArrayValue, axis: number): ArrayValue {
  const [first, second] = [a.sizes[axis]!, b.sizes[axis]!];
  const both = [a, b].map((value, side) => {
    const indices = Int32Array.from({ length: first + second }, (_, i) =>
      side === 0 ? (i < first ? i : ABSENT) : i < first ? ABSENT : i - first,
    );
    return pickArray(value, axis, indices);
  });
  return addArrays(both[0]!, both[1]!, 1);
}

function mapViews(value: ArrayValue, axis: number, size: number, change: (view: View) => View): ArrayValue {
  return { sizes: value.sizes.with(axis, size), terms: value.terms.map((t) => ({ ...t, view: change(t.view) })) };
}

/** Terms as an assignment has them. */
export function finishTerms(terms: readonly Term[]): readonly Term[] {
  const finishLike = (like: Like | null): Like | null =>
    like === null ? null : { ...like, terms: finishTerms(like.terms), view: collapseView(like.view) };
  return terms.map((t) => {
    const view = collapseView(t.view);
    return t.kind === "fresh" ? { ...t, view, like: finishLike(t.like) } : { ...t, view };
  });
}
