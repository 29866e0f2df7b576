/** Token ids in the order of their documents, wherever they lie: a part of what a source has. */

export interface TokenStore {
  /** How many ids there are. */
  readonly tokens: number;
  /** Where each document begins, in order; the first at 0. Eight bytes a document are all that is kept in memory. */
  readonly starts: Float64Array;
  /** Fills `out` with the ids from `at` on. Throws `file/changed`. */
  read(at: number, out: Uint32Array): void;
  /** Where document `document` is from: `code/a.py, document 3`. */
  nameOf(document: number): string;
  close(): void;
}

/** Ids `begin ..< end` of a store. The first begins a document, or goes on with one. */
export interface Stretch {
  readonly store: TokenStore;
  readonly begin: number;
  readonly end: number;
}

/** The number of the document that holds id `at`. */
export function documentAt({ starts }: TokenStore, at: number): number {
  return countUpTo(starts, at) - 1;
}

/** How many of ascending numbers are at most `most`. */
export function countUpTo(numbers: Float64Array, most: number): number {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle]! <= most) low = middle + 1;
    else high = middle;
  }
  return low;
}
