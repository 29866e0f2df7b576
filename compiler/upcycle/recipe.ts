/**
 * Upcycling as data: for every parameter of the target, by runs of its elements, a sum of terms. Nothing is read to make it,
 * so a plan can be shown and checked before a byte moves; an executor streams it.
 */
import type { Span } from "../../grammar/span.ts";
import type { Init } from "../interpret/value.ts";
import type { View } from "./view.ts";

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

export type Term = SourceTerm | FreshTerm;

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

/** Fresh values. The seed and the target's path decide them, not the order of work. */
export interface FreshTerm extends TermBase {
  readonly kind: "fresh";
  readonly init: Init;
  readonly path: string;
  /** Scales and shifts the values to the deviation and mean of what they replace. */
  readonly like: Like | null;
}

/** The sum of these terms, at the elements that `view` has. */
export interface Like {
  readonly terms: readonly Term[];
  readonly view: View;
  readonly length: number;
}
