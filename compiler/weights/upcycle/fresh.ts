/** Fresh terms of an assignment: values from seed and path. */
import { openInit } from "../../language/model/init.ts";
import type { Floats } from "./pass.ts";
import type { FreshTerm } from "./recipe.ts";
import { eachLine } from "./view.ts";

/** Adds elements `offset ..< offset + out.length` of a term. */
export function addFresh({ init, path, view, weight }: FreshTerm, offset: number, out: Floats): void {
  const fill = openInit(init, path);
  eachLine(view, offset, out.length, (at, start, count) => {
    const values = new Float64Array(count);
    fill(start, values);
    for (let i = 0; i < count; i++) out[at + i]! += weight * values[i]!;
  });
}
