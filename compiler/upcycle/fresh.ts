/** Fresh terms of an assignment: values from seed and path, scaled and shifted to what they replace where that is asked for. */
import { openInit } from "../model/init.ts";
import type { FreshTerm } from "./recipe.ts";
import { eachLine, type View } from "./view.ts";

type Floats = Float32Array | Float64Array;

/** Sums over elements: the mean and deviation come from these. */
export interface Moments {
  count: number;
  sum: number;
  squares: number;
}

/** Adds elements `offset ..< offset + out.length` of a term. `moments` are those of the values that it is to be like. */
export function addFresh(term: FreshTerm, offset: number, out: Floats, moments: Moments | null): void {
  const { init, path, view, weight } = term;
  const mean = moments === null || moments.count === 0 ? 0 : moments.sum / moments.count;
  const variance = moments === null || moments.count === 0 ? 1 : moments.squares / moments.count - mean * mean;
  const deviation = Math.sqrt(Math.max(0, variance));
  const fill = openInit(init, path);
  eachLine(view, offset, out.length, (at, start, count) => {
    const values = new Float64Array(count);
    fill(start, values);
    for (let i = 0; i < count; i++) out[at + i]! += weight * (mean + deviation * values[i]!);
  });
}

/** Adds those of `values`, elements from `offset` on, that the view has. In order, so that no cut into parts shows. */
export function addMoments(moments: Moments, view: View, offset: number, values: Floats): void {
  eachLine(view, offset, values.length, (at, _, count) => {
    for (let i = at; i < at + count; i++) {
      moments.count++;
      moments.sum += values[i]!;
      moments.squares += values[i]! * values[i]!;
    }
  });
}
