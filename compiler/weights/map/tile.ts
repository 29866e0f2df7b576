/** Whether runs give every element of a parameter once: counted by runs, not by elements. */

export interface Extent {
  readonly start: number;
  readonly end: number;
}

/** `twice`: the first two of which one begins before the other ends. `missing`: some element is in none. */
export type Tiling<R> =
  { readonly kind: "whole" | "missing" } | { readonly kind: "twice"; readonly runs: readonly [R, R] };

/** How runs, in any order, lie over elements `0 ..< count`. */
export function tile<R extends Extent>(runs: readonly R[], count: number): Tiling<R> {
  const sorted = runs.toSorted((a, b) => a.start - b.start);
  let end = 0;
  for (const [i, run] of sorted.entries()) {
    if (run.start < end) return { kind: "twice", runs: [sorted[i - 1]!, run] };
    if (run.start > end) break;
    end = run.end;
  }
  return { kind: end < count ? "missing" : "whole" };
}
