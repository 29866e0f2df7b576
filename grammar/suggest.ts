/** "Did you mean": the candidate that is fewest slips of the keyboard away (Damerau's four: insert, delete, replace, swap). */

import { LIMITS } from "./limits.ts";

/** The closest candidate, or null when none is within a third of the name's length (at least one slip). */
export function suggest(name: string, candidates: Iterable<string>): string | null {
  if (name.length > LIMITS.name) return null;
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    if (candidate === name || Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = countSlips(name, candidate);
    // A single letter is one slip from every other: only a change of case is a likely mistake there.
    if (distance >= Math.max(name.length, candidate.length) && name.toLowerCase() !== candidate.toLowerCase()) continue;
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment distance, by rows; a swap of neighbours needs the row before the last. */
function countSlips(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let slips = Math.min(replaced, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        slips = Math.min(slips, beforeLast[j - 2]! + 1);
      }
      row.push(slips);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}
