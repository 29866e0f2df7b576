/**
 * Memory that is used again and again. Large arrays that are made and dropped wait for the garbage collector several at a
 * time, and the system clears each of them; a worker that takes its room from one array holds exactly that much.
 */

const ALIGNMENT = 8;

export class Arena {
  readonly #buffer: ArrayBuffer;
  #used = 0;

  constructor(bytes: number) {
    this.#buffer = new ArrayBuffer(Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
  }

  /** Bytes with whatever was in them before, aligned to 8. More than there is room for are a new array. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const start = this.#used;
    const end = start + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (end > this.#buffer.byteLength) return new Uint8Array(bytes);
    this.#used = end;
    return new Uint8Array(this.#buffer, start, bytes);
  }

  /** How much is taken; `release` gives back what was taken since. */
  get mark(): number {
    return this.#used;
  }

  release(mark: number): void {
    this.#used = mark;
  }
}
