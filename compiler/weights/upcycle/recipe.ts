/**
 * Upcycling as data: for every parameter of the target, by runs of its elements, a sum of terms. Nothing is read to make it,
 * so a plan can be shown and checked before a byte moves; an executor streams it. What depends on whole tensors (norms,
 * thresholds, clusters) is a `Statistic`, counted in passes of its own before the elements that need it; what depends on what a source
 * computes is an `Activation`, for which it runs before all else.
 */
import type { Span } from "../../../grammar/span.ts";
import type { Init } from "../../language/interpret/value.ts";
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

export type Term = SourceTerm | FreshTerm | ActivationTerm | FormulaTerm | OrderedTerm;

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

/** What a part of a source is given. */
export interface ActivationTerm extends TermBase {
  readonly kind: "activation";
  readonly activation: Activation;
}

/** What a part of a source is given when the source runs on prompts: an array [rows, width]. */
export interface Activation {
  readonly source: number;
  /** Path of the part, such as `blocks[3].mlp`. */
  readonly part: string;
  /** Elements of one token. */
  readonly width: number;
  readonly rows: readonly Row[];
}

/** A sum over tokens. */
export type Row = readonly RowPart[];

/** Σ weight · what is given at these tokens of a prompt, which count from 0. */
export interface RowPart {
  readonly prompt: Prompt;
  readonly tokens: readonly number[];
  readonly weight: number;
}

/** Runs on its own, from position 0. */
export interface Prompt {
  readonly ids: readonly number[];
  /** What they were made of; null for ids that a rule gives. */
  readonly text: string | null;
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
    return term.kind === "source" ? [term] : inputsOf(term).flatMap(sourcesOf);
  });
}

/** Every activation that terms have, also for their statistics. */
export function activationsOf(terms: readonly Term[]): readonly Activation[] {
  return terms.flatMap((term): readonly Activation[] => {
    return term.kind === "activation" ? [term.activation] : inputsOf(term).flatMap(activationsOf);
  });
}

/** The sums that a term is made of, and those that its statistics are counted over. */
function inputsOf(term: Term): readonly (readonly Term[])[] {
  return [...sumsOf(term), ...statisticsOf(term).flatMap((s) => s.inputs)];
}

/** The sums that a term is made of. */
export function sumsOf(term: Term): readonly (readonly Term[])[] {
  return term.kind === "formula" ? term.inputs : term.kind === "ordered" ? [term.terms] : [];
}
