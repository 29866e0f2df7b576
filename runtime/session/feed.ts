/**
 * Tokens of several sequences, of any lengths, as steps that a plan can run: at most so many tokens each, a sequence cut
 * where a step is full. Which rows of the output are wanted is part of it.
 */

/** Consecutive tokens of one sequence, from position `start` of slot `slot`; `length` is what it is declared to become. */
export interface Stretch {
  readonly slot: number;
  readonly start: number;
  readonly length: number;
  readonly ids: ArrayLike<number>;
}

/** The inputs of a step, u32 [T] each, `wanted` u32 [Q] with the tokens whose outputs are asked for. */
export interface StepInput {
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly position: Uint32Array<ArrayBuffer>;
  readonly slot: Uint32Array<ArrayBuffer>;
  readonly length: Uint32Array<ArrayBuffer>;
  readonly wanted: Uint32Array<ArrayBuffer>;
  /** Which stretch, and which of its tokens, each wanted row is. */
  readonly rows: readonly { readonly stretch: number; readonly token: number }[];
}

/** Cuts stretches into steps of at most `most` tokens. `wanted`: every token's output, or that of each stretch's last. */
export function* packSteps(stretches: readonly Stretch[], most: number, wanted: "all" | "last"): Generator<StepInput> {
  let left = stretches.reduce((n, s) => n + s.ids.length, 0);
  let stretch = 0;
  let token = 0;
  while (left > 0) {
    const size = Math.min(left, most);
    const [ids, position, slot] = [new Uint32Array(size), new Uint32Array(size), new Uint32Array(size)];
    const length = new Uint32Array(size);
    const asked: number[] = [];
    const rows: { stretch: number; token: number }[] = [];
    for (let i = 0; i < size; i++, token++) {
      while (token === stretches[stretch]!.ids.length) [stretch, token] = [stretch + 1, 0];
      const from = stretches[stretch]!;
      ids[i] = from.ids[token]!;
      position[i] = from.start + token;
      slot[i] = from.slot;
      length[i] = from.length;
      if (wanted === "last" && token + 1 < from.ids.length) continue;
      asked.push(i);
      rows.push({ stretch, token });
    }
    left -= size;
    yield { ids, position, slot, length, wanted: Uint32Array.from(asked), rows };
  }
}

/** Of each of `sequences` slots the first token in a step and how many it has: u32 [S, 2]. */
export function runsOf(slot: Uint32Array, sequences: number): Uint32Array<ArrayBuffer> {
  const runs = new Uint32Array(2 * sequences);
  slot.forEach((s, token) => {
    if (runs[2 * s + 1]!++ === 0) runs[2 * s] = token;
  });
  return runs;
}
