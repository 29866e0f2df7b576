/**
 * Upcycling as data: for every parameter of the target, by runs of its elements, a recipe over parameters of the sources.
 * Nothing is read to make it, so a plan can be shown and checked before a byte moves; an executor streams it.
 */
import type { Span } from "../../grammar/span.ts";
import type { Init } from "../interpret/value.ts";

/** How one run of a target parameter is made. All offsets and lengths are elements. */
export interface Assignment {
  readonly path: string;
  readonly start: number;
  readonly length: number;
  readonly recipe: Recipe;
  /** The rule that says so. */
  readonly rule: Span;
}

export type Recipe =
  /** Σ weight · source; one term of weight 1 is a copy, byte for byte where the storage type stays. */
  | { readonly kind: "linear"; readonly terms: readonly Term[] }
  /** Fresh values. The seed and the parameter's own path decide them, not the order of work. */
  | { readonly kind: "init"; readonly init: Init };

/** A run of a source parameter, as long as the assignment. */
export interface Term {
  readonly weight: number;
  readonly source: number;
  readonly path: string;
  readonly start: number;
}
