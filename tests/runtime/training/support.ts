/** Stores of ids in memory, for what takes them from anywhere. */
import { newSequence, type Packed, type Sequence } from "../../../runtime/training/data/pack.ts";
import type { Stretch, TokenStore } from "../../../runtime/training/data/stretch.ts";

/** Documents of these lengths; every id is its place in the store, so that a test sees where it is from. */
export function storeOf(lengths: readonly number[]): TokenStore {
  let tokens = 0;
  const starts = lengths.map((length) => (tokens += length) - length);
  return {
    tokens,
    starts: Float64Array.from(starts),
    read: (at, out) => {
      if (at < 0 || at + out.length > tokens) throw new Error(`ids ${at} ..< ${at + out.length} of ${tokens}`);
      out.forEach((_, i) => (out[i] = at + i));
    },
    nameOf: (document) => `document ${document + 1}`,
    close: () => undefined,
  };
}

export const stretchOf = (lengths: readonly number[], begin = 0, end = storeOf(lengths).tokens): Stretch => ({
  store: storeOf(lengths),
  begin,
  end,
});

export function rowsOf(packed: Packed, context: number, shift = 0): readonly Sequence[] {
  return Array.from({ length: packed.sequences }, (_, i) => {
    const row = newSequence(context);
    packed.write(i, shift, row);
    return row;
  });
}

/** Pairs of an id and its target, those that count. */
export const countedPairs = (rows: readonly Sequence[]): readonly (readonly [number, number])[] =>
  rows.flatMap(({ ids, target, counted }) =>
    [...ids].flatMap((id, i) => (counted[i] === 1 ? [[id, target[i]!] as const] : [])),
  );
