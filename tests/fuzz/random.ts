/**
 * Numbers that follow from a seed and the number of an input alone, so that input 71,302 of seed 4 is the same on every machine and
 * can be made again without the ones before it. The generator is mulberry32, seeded through a mix of both.
 */
export class Random {
  #state: number;

  constructor(seed: number, input: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(input + 1, 0xc2b2ae35)) >>> 0;
    // Neighbouring inputs begin alike; after two steps they do not.
    this.next();
    this.next();
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `count - 1`; 0 where there is nothing to choose from. */
  index(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.index(list.length)]!;
  }

  /** How often to do something: mostly once, sometimes more, seldom many times. */
  few(): number {
    return this.chance(0.6) ? 1 : this.chance(0.8) ? 2 + this.index(3) : 5 + this.index(20);
  }
}
