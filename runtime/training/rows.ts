/** Sequences of a micro-batch as the device takes them: one after another. */
import type { Batch } from "./data/batches.ts";
import type { MicroBatch } from "./trainer.ts";

/** `rows`: of how many sequences the micro-batch is; where the batch has fewer, the rest counts nothing. */
export function joinRows({ ids, target, counted }: Batch, rows = ids.length): MicroBatch {
  const length = ids[0]?.length ?? 0;
  const made = {
    ids: new Uint32Array(rows * length),
    target: new Uint32Array(rows * length),
    counted: new Float32Array(rows * length),
  };
  ids.forEach((row, i) => {
    made.ids.set(row, i * length);
    made.target.set(target[i]!, i * length);
    made.counted.set(counted[i]!, i * length);
  });
  return made;
}
