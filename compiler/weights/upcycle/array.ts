/**
 * What an expression of an upcycling stands for: arrays whose elements are sums over views of sources and of fresh values.
 * Subtrees are arrays by path. What is asked for comes from the target: its axes, whose sizes an operator may change.
 */
import { withoutPrimes } from "../../graph/type.ts";
import type { Init } from "../../language/interpret/value.ts";
import { addActivations, chooseRow } from "./activation.ts";
import { ABSENT, collapseView, contiguousView, pickAxis, sliceAxis, type View } from "./view.ts";
import type { FormulaName } from "./formula.ts";
import type { MeasureName } from "./measure.ts";
import type { Statistic, Term } from "./recipe.ts";

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
  return exact >= 0 ? exact : axes.findIndex((a) => withoutPrimes(a.name) === name);
}

export function resizeDemand(demand: Demand, axis: number, size: number | null): Demand {
  return { ...demand, axes: demand.axes.with(axis, { ...demand.axes[axis]!, size }) };
}

export function scaleTerms(terms: readonly Term[], factor: number): readonly Term[] {
  return terms.map((t) => ({ ...t, weight: t.weight * factor }));
}

export function scaleArray(value: ArrayValue, factor: number): ArrayValue {
  return { ...value, terms: scaleTerms(value.terms, factor) };
}

/** Fresh values for what is asked for, drawn by `path`: the same wherever they are made. */
export function freshArray(
  { ordinal, path: own }: Demand,
  sizes: readonly number[],
  init: Init,
  path: string = own,
): ArrayValue {
  const view = contiguousView(ordinal * sizes.reduce((a, b) => a * b, 1), sizes);
  return { sizes, terms: [{ kind: "fresh", weight: 1, init, path, view }] };
}

/** A formula of arrays of one shape. */
export function formulaArray(
  formula: FormulaName,
  inputs: readonly ArrayValue[],
  constants: readonly number[],
  statistics: readonly Statistic[],
): ArrayValue {
  const { sizes } = inputs[0]!;
  const view = contiguousView(0, sizes);
  const sums = inputs.map((a) => finishTerms(a.terms));
  return { sizes, terms: [{ kind: "formula", weight: 1, formula, constants, statistics, inputs: sums, view }] };
}

export function measureArrays(
  measure: MeasureName,
  inputs: readonly ArrayValue[],
  constants: readonly number[],
): Statistic {
  const length = inputs[0]!.sizes.reduce((a, b) => a * b, 1);
  return { measure, constants, inputs: inputs.map((a) => finishTerms(a.terms)), length };
}

/** An axis in the order that a statistic gives. */
export function orderArray({ sizes, terms }: ArrayValue, axis: number, order: Statistic): ArrayValue {
  return { sizes, terms: [{ kind: "ordered", weight: 1, axis, order, terms, view: contiguousView(0, sizes) }] };
}

/** A new axis of size 1. */
export function insertAxis({ sizes, terms }: ArrayValue, axis: number): ArrayValue {
  const insert = (view: View): View => ({
    ...view,
    axes: view.axes.toSpliced(axis, 0, { size: 1, stride: 1, picks: null }),
  });
  return { sizes: sizes.toSpliced(axis, 0, 1), terms: terms.map((t) => ({ ...t, view: insert(t.view) })) };
}

/** Without an axis, at one of its indices. */
export function takeIndex(value: ArrayValue, axis: number, index: number): ArrayValue {
  const { sizes, terms } = sliceArray(value, axis, index, 1);
  const without = (view: View): View => ({ ...view, axes: view.axes.toSpliced(axis, 1) });
  // Where an axis picks, the pick moves the start.
  const move = (view: View): View => {
    const { picks, stride } = view.axes[axis]!;
    return picks === null ? without(view) : without({ ...view, start: view.start + picks[0]! * stride });
  };
  const there = terms.filter(({ view }) => view.axes[axis]!.picks?.[0] !== ABSENT);
  return { sizes: sizes.toSpliced(axis, 1), terms: there.map((t) => chooseRow({ ...t, view: move(t.view) })) };
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
  return addActivations(terms.map((t) => ({ ...t, view: collapseView(t.view) })));
}
