/**
 * Elements of the result: copies byte for byte, everything else summed in float32 and rounded once to the type it is stored
 * in. Fresh values depend on seed and path alone, so neither the order of work nor the cut into units shows.
 */
import type { Assignment } from "../../compiler/index.ts";
import { fillInit } from "../../compiler/index.ts";
import type { StorageType } from "../../compiler/plan/plan.ts";
import { type DataType, fromFloat32, toFloat32 } from "../checkpoint/index.ts";
import { STORAGE_BYTES } from "../model.ts";
import type { ParameterSource } from "../parameters.ts";
import { isContiguous, scatter } from "../strided.ts";
import { isCopy, type Unit } from "./transfer.ts";

/** Names of the storage types in a safetensors file. */
export const DATA_TYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Record<StorageType, DataType>;

/** The bytes of a unit, as they go to the file. */
export async function evaluateUnit(
  unit: Unit,
  sources: readonly ParameterSource[],
  dtype: StorageType,
): Promise<Uint8Array> {
  const { window, runs } = unit;
  const [only] = runs;
  // A run that is the whole window needs no place of its own.
  if (runs.length === 1 && only!.range.length === window.length && isContiguous(only!.piece)) {
    return evaluateAssignment(only!.assignment, sources, dtype);
  }
  const out = new Uint8Array(window.length * STORAGE_BYTES[dtype]);
  for (const { piece, range, assignment } of runs) {
    const bytes = await evaluateAssignment(assignment, sources, dtype);
    scatter(bytes, STORAGE_BYTES[dtype], piece, range, window, out);
  }
  return out;
}

async function evaluateAssignment(
  assignment: Assignment,
  sources: readonly ParameterSource[],
  dtype: StorageType,
): Promise<Uint8Array> {
  const { path, start, length, recipe } = assignment;
  if (recipe.kind === "linear" && isCopy(assignment, sources, dtype)) {
    const [term] = recipe.terms;
    return sources[term!.source]!.read(term!.path, term!.start, length);
  }
  const sum = new Float32Array(length);
  if (recipe.kind === "init") fillInit(recipe.init, path, start, sum);
  else {
    for (const term of recipe.terms) {
      const source = sources[term.source]!;
      const values = toFloat32(DATA_TYPES[source.storage(term.path)], await source.read(term.path, term.start, length));
      addScaled(sum, values, term.weight);
    }
  }
  return fromFloat32(DATA_TYPES[dtype], sum);
}

/** A function of its own, since loops over arrays compile better there than inside an async one. */
function addScaled(sum: Float32Array, values: Float32Array, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + weight * values[i]!;
}
