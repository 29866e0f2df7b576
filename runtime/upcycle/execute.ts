/**
 * Writes a planned checkpoint as a stream: one unit is read and made while the one before is written. Nothing appears under
 * the final name unless all of it is there.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createCheckpoint, type WriterOptions } from "../checkpoint/index.ts";
import { DATA_TYPES, evaluateUnit } from "./evaluate.ts";
import type { Transfer } from "./transfer.ts";

export interface ExecuteOptions extends Pick<WriterOptions, "maxShardBytes" | "overwrite"> {
  /** Hears the bytes written so far. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Makes the folder `target`, a checkpoint as Hugging Face lays it out. Throws what reading the sources and `createCheckpoint`
 * throw; what was written until then is gone.
 */
export async function executeTransfer(transfer: Transfer, target: string, options: ExecuteOptions = {}): Promise<void> {
  const { onProgress = () => {}, ...writing } = options;
  const specs = transfer.tensors.map((t) => ({ name: t.name, dtype: DATA_TYPES[t.dtype], shape: t.shape }));
  const writer = await createCheckpoint(target, specs, writing);
  try {
    let done = 0;
    for await (const { name, bytes } of makeUnits(transfer)) {
      await writer.write(name, bytes);
      done += bytes.byteLength;
      onProgress(done, writer.totalBytes);
    }
    await writer.addFile("config.json", transfer.config);
    await writer.copyTokenizer(transfer.folder);
    const generation = await readFile(join(transfer.folder, "generation_config.json")).catch(() => null);
    if (generation !== null) await writer.addFile("generation_config.json", generation);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

interface Made {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Units in order, each begun before the one before it has been used. */
async function* makeUnits({ tensors, sources }: Transfer): AsyncGenerator<Made> {
  const units = tensors.flatMap((tensor) => tensor.units.map((unit) => ({ tensor, unit })));
  const begin = (i: number): Promise<Made> | null => {
    const next = units[i];
    if (next === undefined) return null;
    const { name, dtype } = next.tensor;
    const made = evaluateUnit(next.unit, sources, dtype).then((bytes) => ({ name, bytes }));
    // If writing fails first, nobody awaits this one.
    made.catch(() => {});
    return made;
  };
  let ahead = begin(0);
  try {
    for (let i = 1; ahead !== null; i++) {
      const made: Made = await ahead;
      ahead = begin(i);
      yield made;
    }
  } finally {
    // Files are closed after this; a read must not be under way then.
    await ahead?.catch(() => {});
  }
}
