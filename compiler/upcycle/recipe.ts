/**
 * Upcycling as data: for every parameter of the target, by runs of its elements, a sum of terms. Nothing is read to make it,
 * so a plan can be shown and checked before a byte moves; an executor streams it. What depends on whole tensors (norms,
 * thresholds, clusters) is a `Statistic`, counted in passes of its own before the elements that need it.
 */
import type { Span } from "../../grammar/span.ts";
import type { Init } from "../interpret/value.ts";
import type { FormulaName } from "./formula.ts";
import type { MeasureName } from "./measure.ts";
import { collapseView, pickAxis, type View } from "./view.ts";

/** How one run of a target parameter is made: Σ weight · term. All offsets and lengths are elements. */
export interface Assignment {
  readonly path: string;
  readonly start: number;
  readonly length: number;
  /** Where the run begins in the views of its terms: 0 until it is cut. */
  readonly offset: number;
  /** One source of weight 1 is a copy, byte for byte where the storage type stays. None are zeros. */
  readonly terms: readonly Term[];
  /** The rule that says so. */
  readonly rule: Span;
}

export type Term = SourceTerm | FreshTerm | FormulaTerm | OrderedTerm;

interface TermBase {
  readonly weight: number;
  readonly view: View;
}

/** Elements of a source parameter. */
export interface SourceTerm extends TermBase {
  readonly kind: "source";
  readonly source: number;
  readonly path: string;
}

/** Fresh values. The seed and the path decide them, not the order of work. */
export interface FreshTerm extends TermBase {
  readonly kind: "fresh";
  readonly init: Init;
  readonly path: string;
}

/** A function of sums, element by element; numbers that it needs of whole tensors come from statistics. The view is of its results. */
export interface FormulaTerm extends TermBase {
  readonly kind: "formula";
  readonly formula: FormulaName;
  readonly constants: readonly number[];
  readonly statistics: readonly Statistic[];
  readonly inputs: readonly (readonly Term[])[];
}

/** A sum whose axis is put into the order that a statistic gives. The views of `terms` have all axes of the array. */
export interface OrderedTerm extends TermBase {
  readonly kind: "ordered";
  readonly axis: number;
  readonly order: Statistic;
  readonly terms: readonly Term[];
}

/** Numbers counted over the first `length` elements of sums, which are read once per pass. */
export interface Statistic {
  readonly measure: MeasureName;
  readonly constants: readonly number[];
  readonly inputs: readonly (readonly Term[])[];
  readonly length: number;
}

/** The statistics that a term needs before its elements. */
export function statisticsOf(term: Term): readonly Statistic[] {
  return term.kind === "formula" ? term.statistics : term.kind === "ordered" ? [term.order] : [];
}

/** The terms of an ordered one, once its order is known. */
export function orderTerms(term: OrderedTerm, order: readonly number[]): readonly Term[] {
  const picks = Int32Array.from(order);
  return term.terms.map((t) => ({ ...t, view: collapseView(pickAxis(t.view, term.axis, picks)) }));
}

/** Every source that terms read, also for their statistics. */
export function sourcesOf(terms: readonly Term[]): readonly SourceTerm[] {
  return terms.flatMap((term): readonly SourceTerm[] => {
    if (term.kind === "source") return [term];
    const within = term.kind === "formula" ? term.inputs : term.kind === "ordered" ? [term.terms] : [];
    return [...within, ...statisticsOf(term).flatMap((s) => s.inputs)].flatMap(sourcesOf);
  });
}
