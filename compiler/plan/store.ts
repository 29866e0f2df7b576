/**
 * What the numbers of a state are kept as between steps; kernels compute in f32 whatever it is. A row says how wide an element is, and how
 * far what is read may be from what was written: relative to it, and not below `least`. What a type has no room for is read as NaN, which
 * results show.
 */
export interface Store {
  readonly bits: 16 | 32;
  readonly largest: number;
  readonly error: number;
  readonly least: number;
}

const rows = {
  f32: { bits: 32, largest: 3.4028234663852886e38, error: 0, least: 0 },
  // Devices may round either way, and may take the least numbers for zero.
  f16: { bits: 16, largest: 65504, error: 2 ** -10, least: 2 ** -4 },
} as const satisfies Readonly<Record<string, Store>>;

export type StoreType = keyof typeof rows;

export const STORES: Readonly<Record<StoreType, Store>> = rows;

export const STORE_TYPES = Object.keys(STORES) as readonly StoreType[];

export function storedBytes(type: StoreType, elements: number): number {
  return (elements * STORES[type].bits) / 8;
}
