/**
 * What of a source is never trained on: its end. Whole documents where one begins near the wanted place, so that no document is on both
 * sides; else the document there is cut, as one long text has to be.
 */
import { countUpTo, documentAt, type Stretch, type TokenStore } from "./stretch.ts";

/** The last so many ids, or that share of them but no more than `most` ids. */
export type HeldOut = { readonly tokens: number } | { readonly share: number; readonly most: number };

/** A twentieth, and no more than some minutes of measuring. */
export const DEFAULT_HELD_OUT: HeldOut = { share: 0.05, most: 262_144 };

export interface Split {
  readonly train: Stretch;
  readonly heldOut: Stretch;
}

/** May give a side nothing. `isWhole`: no document is cut, whatever is held out then. */
export function splitStore(store: TokenStore, wanted: HeldOut, isWhole = false): Split {
  const border = borderOf(store, wanted);
  const at = isWhole && border < store.tokens ? store.starts[documentAt(store, border)]! : border;
  return { train: { store, begin: 0, end: at }, heldOut: { store, begin: at, end: store.tokens } };
}

function borderOf(store: TokenStore, wanted: HeldOut): number {
  const { tokens, starts } = store;
  const count = "tokens" in wanted ? wanted.tokens : Math.min(wanted.most, Math.floor(tokens * wanted.share));
  if (count === 0) return tokens;
  const border = Math.max(0, tokens - count);
  const behind = countUpTo(starts, border);
  const near = [starts[behind - 1], starts[behind]].filter(
    (start): start is number => start !== undefined && start > 0 && isNear(tokens - start, count),
  );
  return near.length === 0 ? border : near.reduce((a, b) => (Math.abs(b - border) < Math.abs(a - border) ? b : a));
}

/** Within half and twice what was asked for. */
const isNear = (count: number, wanted: number): boolean => 2 * count >= wanted && count <= 2 * wanted;
