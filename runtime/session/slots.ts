/** What the slots of a session hold: the tokens of a sequence each, how many it is to have in the end, and the logits after the last. */
import { failure } from "../../grammar/diagnostic.ts";

interface Slot {
  ids: number[];
  /** Tokens that the sequence is declared to have in the end; 0 where nobody said. */
  declared: number;
  /** f32 [vocab] */
  logits: Float32Array | null;
}

export class Slots {
  readonly #slots: readonly Slot[];

  constructor(count: number) {
    this.#slots = Array.from({ length: count }, () => ({ ids: [], declared: 0, logits: null }));
  }

  get count(): number {
    return this.#slots.length;
  }

  /** Throws `session/slot` for one that there is not. */
  at(slot: number): Slot {
    const found = Number.isInteger(slot) ? this.#slots[slot] : undefined;
    if (found !== undefined) return found;
    throw failure(
      "session/slot",
      `there is no slot ${String(slot)}: the session was opened for ${this.count} sequences`,
      { help: "open it with a larger `sequences`" },
    );
  }

  /** Counts tokens in that follow the first `start` of a slot. */
  hold(slot: number, start: number, ids: ArrayLike<number>): void {
    const { ids: held } = this.at(slot);
    while (held.length < start) held.push(0);
    held.length = start;
    for (let i = 0; i < ids.length; i++) held.push(ids[i]!);
  }

  clear(slot: number): void {
    Object.assign(this.at(slot), { ids: [], declared: 0, logits: null });
  }
}
