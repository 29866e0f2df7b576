/**
 * Which source the next sequence is from, and which of its sequences that is. Sources take turns, evenly by
 * their weights from a beginning that the seed says, so that a batch has of each what its weight says, or one more or less: draws at random would
 * have steps differ by what they are about. Within a source every sequence comes once a pass, in an order of that pass. So where training stands is one
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
  /** When each source's first turn comes, as a part of the time between its turns. */
  readonly #phases: readonly number[];
  #draws = 0;
  #positions: number[];

  /** Every source has a sequence at least. */
  constructor(sources: readonly MixtureSource[], seed: number) {
    this.#sources = sources;
    this.#phases = sources.map((_, i) => shareAt(seed, "source", i));
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
    for (; this.#draws < draws; this.#draws++) this.#positions[this.#nextSource()]!++;
  }

  next(): Draw {
    const draw = this.#draws++;
    const source = this.#nextSource();
    const position = this.#positions[source]!++;
    const { sequences } = this.#sources[source]!;
    const pass = Math.floor(position / sequences);
    const sequence = placeAt(position % sequences, sequences, this.#seed, source, pass);
    return { draw, source, pass, sequence };
  }

  /** Whose turn comes first. */
  #nextSource(): number {
    let [next, first] = [0, Infinity];
    for (let i = 0; i < this.#sources.length; i++) {
      const time = (this.#positions[i]! + this.#phases[i]!) / this.#sources[i]!.weight;
      if (time < first) [next, first] = [i, time];
    }
    return next;
  }
}
