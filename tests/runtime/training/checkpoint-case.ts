/** A run as a loop would have it: parameters and optimizer states as arrays, a record, and one more step of all of them. */
import type { LoadedModel } from "../../../runtime/model/model.ts";
import type { TrainingCheckpoint } from "../../../runtime/training/checkpoint.ts";
import type { TrainingRecord } from "../../../runtime/training/train-record.ts";

export const recordOf = (step: number): TrainingRecord => ({
  step,
  seed: 7,
  plan: "a".repeat(64),
  adapter: "llvmpipe, vulkan",
  data: { prose: { draws: 3 * step, document: 2 } },
  accumulators: {},
  run: { rate: 1e-3 },
});

/** Values that only f32 holds, different at every step. */
export function valuesAt(step: number, path: string, length: number): Float32Array {
  const seed = [...path].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, step);
  return Float32Array.from({ length }, (_, i) => Math.sin(seed + i * 0.37) / 3);
}

export const countOf = (loaded: LoadedModel, path: string): number =>
  loaded.model.parameters.find((p) => p.path === path)!.axes.reduce((n, axis) => n * axis.size, 1);

export function checkpointAt(
  step: number,
  loaded: LoadedModel,
  more: Partial<TrainingCheckpoint> = {},
): TrainingCheckpoint {
  const paths = loaded.model.parameters.map((p) => p.path);
  return {
    loaded,
    record: recordOf(step),
    parameter: (path) => valuesAt(step, path, countOf(loaded, path)),
    states: ["m", "v"].flatMap((state) =>
      paths.map((path) => ({ state, path, read: () => valuesAt(step, `${state}.${path}`, countOf(loaded, path)) })),
    ),
    ...more,
  };
}
