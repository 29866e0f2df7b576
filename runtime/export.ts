/**
 * A loaded model written back: an upcycling of one source with copies only. Tensors keep names, layout and type, so that
 * import and export together change nothing; what was stored in an encoding is written as the numbers that it means, under the
 * names that the map writes.
 */
import type { StorageType } from "../compiler/plan/plan.ts";
import { type ConfigFile, contiguousView, expandMap } from "../compiler/index.ts";
import { DiagnosticBag } from "../grammar/diagnostic.ts";
import { makeConfig } from "./upcycle/target.ts";
import { executeTransfer, type ExecuteOptions } from "./upcycle/execute.ts";
import { BUDGET_BYTES, planTensors, sumTransfer, type Transfer, type TransferTensor } from "./upcycle/transfer.ts";
import { commonType, type LoadedModel, STORAGE } from "./model.ts";

/** Makes the folder `target`. A tensor in another type than f32, f16 and bf16 becomes f32. Throws what `executeTransfer` throws. */
export async function exportModel(loaded: LoadedModel, target: string, options: ExecuteOptions = {}): Promise<void> {
  await executeTransfer(planExport(loaded), target, options);
}

/** `budget` bounds the bytes that one unit of work holds. */
export function planExport(
  { model, map, config, checkpoint, entries, source }: LoadedModel,
  budget = BUDGET_BYTES,
): Transfer {
  const copies = model.parameters.map(({ path, axes, span }) => {
    const length = axes.reduce((n, axis) => n * axis.size, 1);
    const terms = [{ kind: "source" as const, weight: 1, source: 0, path, view: contiguousView(0, [length]) }];
    return { path, start: 0, length, offset: 0, terms, rule: span };
  });
  const isEncoded = entries.some((entry) => entry.stored !== null);
  const written = isEncoded ? expandMap(map, model, null, new DiagnosticBag()).entries : entries;
  const tensors = planTensors(written, copies, {
    sources: [source],
    budget,
    dtype: ({ tensor, pieces }) =>
      isEncoded
        ? commonType(pieces.map((piece) => source.storage(piece.path)))
        : (STORAGE[checkpoint.tensors.get(tensor)!.dtype] ?? "f32"),
  });
  return {
    tensors,
    sources: [source],
    // Settings that no map knows stay with the model.
    config: makeConfig(map, model, mostCommon(tensors), isEncoded ? withoutEncoding(config) : config),
    folder: checkpoint.path,
    ...sumTransfer(tensors),
  };
}

/** Other tools would look for encoded tensors. */
function withoutEncoding(config: ConfigFile): ConfigFile {
  const { quantization_config: _, ...json } = config.json;
  return { ...config, json };
}

/** The type of most bytes. */
function mostCommon(tensors: readonly TransferTensor[]): StorageType {
  const bytes = new Map<StorageType, number>();
  for (const t of tensors) bytes.set(t.dtype, (bytes.get(t.dtype) ?? 0) + t.bytes);
  return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "f32";
}
