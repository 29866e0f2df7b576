/** Random weights, the same on every run: a linear congruential generator is good enough to be multiplied. */

export class RandomWeights {
  #state = 12345;

  /** Uniform in [-0.5, 0.5). */
  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 4294967296 - 0.5;
  }

  /** Uniform in [-range / 2, range / 2). */
  floats(count: number, range: number): Float32Array {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = this.next() * range;
    return out;
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = Math.floor((this.next() + 0.5) * 256);
    return out;
  }
}
