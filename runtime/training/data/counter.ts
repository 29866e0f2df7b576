/**
 * Chance that depends on counters alone: the hash that `.moe` has as `hash`, over a seed, what the number is for, and which one it is. So
 * nothing has to be kept of a generator: the thousandth draw is known without the 999 before it.
 */
import { mixBits } from "../../../compiler/index.ts";

/** What a number is for: draws of different kinds have nothing to do with each other. */
export const PURPOSES = { source: 1, shift: 2, order: 3, rewrite: 4, cut: 5 } as const;

export type Purpose = keyof typeof PURPOSES;

/** 32 bits of a seed, a purpose and whole numbers from 0, below 2^53 each. */
export function bitsAt(seed: number, purpose: Purpose, ...counters: readonly number[]): number {
  let bits = mixIn(mixIn(0, seed), PURPOSES[purpose]);
  for (const counter of counters) bits = mixIn(bits, counter);
  return bits;
}

/** Both halves of a number, one after the other. */
const mixIn = (bits: number, n: number): number => mixBits((mixBits((bits ^ n) >>> 0) ^ Math.floor(n / 2 ** 32)) >>> 0);

/** A number from 0 to 1, 1 left out. */
export const shareAt = (seed: number, purpose: Purpose, ...counters: readonly number[]): number =>
  bitsAt(seed, purpose, ...counters) / 2 ** 32;

/**
 * Where number `at` of `count` goes when they change places: every number once, by a Feistel network over the least even number of bits
 * that holds them, walked until it ends below `count` (Black, Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
 */
export function placeAt(at: number, count: number, seed: number, ...counters: readonly number[]): number {
  const half = Math.ceil(Math.max(2, Math.ceil(Math.log2(count))) / 2);
  const side = 2 ** half;
  let place = at;
  do {
    let [left, right] = [Math.floor(place / side), place % side];
    for (let round = 0; round < ROUNDS; round++)
      [left, right] = [right, (left ^ bitsAt(seed, "order", ...counters, round, right)) & (side - 1)];
    place = left * side + (right >>> 0);
  } while (place >= count);
  return place;
}

const ROUNDS = 4;
