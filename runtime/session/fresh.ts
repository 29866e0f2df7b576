/** Whole sequences from empty slots, each as if it stood alone: what `forward`, `score` and the like are made of. */
import { failure } from "../../grammar/diagnostic.ts";
import { packSteps, type Stretch } from "./feed.ts";
import type { Steps } from "./steps.ts";

export interface Fresh {
  readonly batch: readonly ArrayLike<number>[];
  readonly output: string;
  /** Gets every row of the output, f32 [rows, ...], with the sequence and token that each belongs to. */
  readonly take: (values: Float32Array, rows: readonly FreshRow[]) => void;
  /** Each token's target, where there is one. */
  readonly target?: ((sequence: number, token: number) => number) | null;
  /** Hears of every sequence before its first token. */
  readonly begin?: (sequence: number, slot: number) => void;
  /** Asked before each step; throws to end the run. */
  readonly check?: () => void;
}

interface FreshRow {
  readonly sequence: number;
  readonly token: number;
}

/** Takes over all slots and leaves them empty. Throws what `Steps.admit` and `Steps.read` throw. */
export async function runFresh(steps: Steps, fresh: Fresh): Promise<void> {
  try {
    await (steps.isWhole(fresh.output) ? runWhole : runTogether)(steps, fresh);
  } finally {
    for (let slot = 0; slot < steps.sequences; slot++) steps.reset(slot);
  }
}

/** As many at a time as there are slots. */
async function runTogether(
  steps: Steps,
  { batch, output, take, target = null, begin = () => {}, check = () => {} }: Fresh,
): Promise<void> {
  const most = steps.mostTokens((T) => T);
  for (let first = 0; first < batch.length; first += steps.sequences) {
    const group = batch.slice(first, first + steps.sequences);
    const stretches = group.map((ids, slot): Stretch => ({ slot, start: 0, length: ids.length, ids }));
    for (let slot = 0; slot < steps.sequences; slot++) steps.reset(slot);
    group.forEach((_, slot) => begin(first + slot, slot));
    await steps.admit(stretches);
    for (const input of packSteps(stretches, most, "all")) {
      check();
      const rows = input.rows.map(({ stretch, token }) => ({ sequence: first + stretch, token }));
      const targets = target && Uint32Array.from(rows, ({ sequence, token }) => target(sequence, token));
      take(await steps.read(output, input, targets), rows);
    }
  }
}

/** For an output that takes whole sequences, one to a step. */
async function runWhole(
  steps: Steps,
  { batch, output, take, target = null, begin = () => {}, check = () => {} }: Fresh,
): Promise<void> {
  for (const [sequence, ids] of batch.entries()) {
    check();
    steps.reset(0);
    begin(sequence, 0);
    const stretch: Stretch = { slot: 0, start: 0, length: ids.length, ids };
    await steps.admit([stretch]);
    if (steps.mostTokens((T) => T, ids.length) < ids.length)
      throw failure(
        "session/capacity",
        `${steps.executor.plan.model} looks at whole sequences, and one of ${ids.length} tokens does not fit on this device`,
        { help: "give shorter sequences" },
      );
    const [input] = [...packSteps([stretch], ids.length, "all")];
    const rows = input!.rows.map(({ token }) => ({ sequence, token }));
    const targets = target && Uint32Array.from(rows, (row) => target(sequence, row.token));
    take(await steps.read(output, input!, targets, true), rows);
  }
}
