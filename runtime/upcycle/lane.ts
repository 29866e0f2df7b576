/**
 * Memory that is used again and again, and the arithmetic on it. Large arrays that are made and dropped wait for the garbage
 * collector several at a time, and the system clears each of them; a lane that takes its room from one memory holds exactly
 * that much.
 */
import type { ElementType } from "../checkpoint/element-type.ts";
import { openSums, type Sums } from "./sums.ts";
import { createMemory, type Memory } from "./wasm.ts";

/** Elements that are summed at a time: 16 KiB of sums, which stay in the processor's first cache. */
export const BLOCK = 4096;

const ALIGNMENT = 16;
/** Memories have whole pages; one more is for the alignment of some thousand arrays. */
const PAGE = 1 << 16;

export class Lane {
  readonly #memory: Memory;
  readonly #sums: Sums;
  readonly #block: Float32Array;
  #used = 4 * BLOCK;

  /** `bytes` are the most that is taken at a time. */
  constructor(bytes: number) {
    this.#memory = createMemory(Math.ceil((4 * BLOCK + bytes) / PAGE) + 1);
    this.#sums = openSums(this.#memory);
    this.#block = new Float32Array(this.#memory.buffer, 0, BLOCK);
  }

  /** Bytes with whatever was in them before, aligned to 16. Throws where more is taken than was said. */
  take(bytes: number): Uint8Array {
    const start = this.#used;
    this.#used += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return new Uint8Array(this.#memory.buffer, start, bytes);
  }

  /** How much is taken; `release` gives back what was taken since. */
  get mark(): number {
    return this.#used;
  }

  release(mark: number): void {
    this.#used = mark;
  }

  /** The sum of one block of elements, at most `BLOCK`; the next takes its place. */
  sum(adders: readonly Adder[], at: number, length: number): Float32Array {
    const block = this.#block.subarray(0, length);
    this.#sums.clear(block);
    for (const add of adders) add(at, block);
    return block;
  }

  /** Adds `weight` times elements of this memory, from `at` on, one for each of `sum`. */
  add(dtype: ElementType, bytes: Uint8Array, at: number, weight: number, sum: Float32Array): void {
    this.#sums.add(dtype, bytes, at, weight, sum);
  }

  isFinite(dtype: ElementType, bytes: Uint8Array): boolean {
    return this.#sums.isFinite(dtype, bytes);
  }

  /** Puts sums at element `at` of `out`, rounded to nearest even. */
  store(dtype: ElementType, sum: Float32Array, out: Uint8Array, at: number): void {
    this.#sums.store(dtype, sum, out, at);
  }
}

/** Adds elements of a term, from element `at` of its run on. */
export type Adder = (at: number, sum: Float32Array) => void;
