/**
 * Which source the next sequence is from, and which of its sequences that is. The source is drawn by its weight, by the hash of the seed and
 * the draw's number; within a source every sequence comes once a pass, in an order of that pass. So where training stands is one
 * number per source, and follows from how many draws there were: any draw can be found again.
 */
import { placeAt, shareAt } from "./counter.ts";

/** How much has been drawn, in all and of each source. */
export interface MixtureState {
  readonly draws: number;
  readonly positions: readonly number[];
}

export interface Draw {
  /** Its number, from 0. */
  readonly draw: number;
  readonly source: number;
  /** Which pass over the source it belongs to, from 0, and which sequence of that pass. */
  readonly pass: number;
  readonly sequence: number;
}

export interface MixtureSource {
  /** Greater than 0; only their proportions count. */
  readonly weight: number;
  /** Sequences of a pass. */
  readonly sequences: number;
}

export class Mixture {
  readonly #sources: readonly MixtureSource[];
  readonly #seed: number;
  /** Sums of shares; the last is 1. */
  readonly #upTo: readonly number[];
  #draws = 0;
  #positions: number[];

  /** Every source has a sequence at least. */
  constructor(sources: readonly MixtureSource[], seed: number) {
    const total = sources.reduce((sum, { weight }) => sum + weight, 0);
    let sum = 0;
    this.#upTo = sources.map(({ weight }) => (sum += weight) / total);
    this.#sources = sources;
    this.#seed = seed;
    this.#positions = sources.map(() => 0);
  }

  get state(): MixtureState {
    return { draws: this.#draws, positions: [...this.#positions] };
  }

  /** The next draw is number `draws`. From where it stands, or from the beginning: some millions a second. */
  seek(draws: number): void {
    if (draws < this.#draws) {
      this.#draws = 0;
      this.#positions = this.#sources.map(() => 0);
    }
    for (; this.#draws < draws; this.#draws++) this.#positions[this.#sourceOf(this.#draws)]!++;
  }

  next(): Draw {
    const draw = this.#draws++;
    const source = this.#sourceOf(draw);
    const position = this.#positions[source]!++;
    const { sequences } = this.#sources[source]!;
    const pass = Math.floor(position / sequences);
    const sequence = placeAt(position % sequences, sequences, this.#seed, source, pass);
    return { draw, source, pass, sequence };
  }

  #sourceOf(draw: number): number {
    const share = shareAt(this.#seed, "source", draw);
    const found = this.#upTo.findIndex((end) => share < end);
    return found < 0 ? this.#upTo.length - 1 : found;
  }
}
