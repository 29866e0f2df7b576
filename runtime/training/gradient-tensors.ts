/**
 * Gradients as a checkpoint has its parameters: under the names and in the layout of its tensors. A map only moves elements, each to one
 * place, so a gradient goes to where its parameter came from. Where the values are not what is stored, as in blocks with scales, there is
 * nothing that the gradient would be of, and that is refused.
 */
import type { TensorEntry } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import { layOutTensor } from "./tensor-layout.ts";

export interface GradientTensors {
  readonly tensors: readonly GradientTensor[];
  /** Tensors whose parameters have no gradient: nothing of the loss comes from them. */
  readonly without: readonly string[];
}

export interface GradientTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Throws `train/encoded` where a tensor is not stored as its values. */
export function checkPlain(checkpoint: Checkpoint, entries: readonly TensorEntry[]): void {
  const entry = entries.find((e) => e.stored !== null);
  if (entry === undefined) return;
  throw failure(
    "train/encoded",
    `\`${entry.tensor}\` of ${checkpoint.path} is stored as ${entry.stored!.encoding}, and the gradient of its values has no place there`,
    {
      labels: [{ span: entry.span, text: "mapped here" }],
      help: "write it with its values first: `moec export CHECKPOINT --out PLAIN --dtype bf16`",
    },
  );
}

/** Of the parameters of a tensor, those without a gradient have zeros there. Throws `train/encoded`. */
export function layOutGradients(
  checkpoint: Checkpoint,
  entries: readonly TensorEntry[],
  gradients: ReadonlyMap<string, Float32Array>,
): GradientTensors {
  checkPlain(checkpoint, entries);
  const known = entries.filter(({ pieces }) => pieces.some(({ path }) => gradients.has(path)));
  // As the checkpoint calls them, where that is not what the map does.
  const nameOf = ({ tensor }: TensorEntry): string => checkpoint.tensors.get(tensor)!.name;
  return {
    tensors: known.map((entry) => ({
      name: nameOf(entry),
      shape: entry.shape,
      values: layOutTensor(entry.shape, entry.pieces, (path) => gradients.get(path)),
    })),
    without: entries.filter((entry) => !known.includes(entry)).map(nameOf),
  };
}
