/** A smaller input that fails in the same way: stretches of lines, then of tokens, then of characters are left out while it still does. */
import { tokensOf } from "./mutate-text.ts";

/** `fails` says whether a text still fails alike; it is asked at most `budget` times. */
export async function minimise(text: string, fails: (text: string) => Promise<boolean>, budget = 600): Promise<string> {
  let asked = 0;
  let best = text;
  const cuts = [(t: string) => t.split(/(?<=\n)/), tokensOf, (t: string) => [...t]];
  for (const cut of cuts) {
    let units = cut(best);
    for (let size = units.length >> 1; size >= 1; size = size >> 1) {
      for (let from = 0; from < units.length && asked < budget;) {
        const less = units.toSpliced(from, size);
        asked++;
        if (less.length < units.length && (await fails(less.join("")))) units = less;
        else from += size;
      }
    }
    best = units.join("");
  }
  return best;
}
