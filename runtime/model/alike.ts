/**
 * Tensors that a map passes over while they hold what a parameter does: mostly the head of a model whose config.json ties it to the
 * embedding. They are compared by their values, up to the first that differs; what is not the same is a weight of its own.
 */
import { ELEMENTS, elementBytes } from "../checkpoint/element-type.ts";
import type { Alike, ConstructorValue, MapBinding, Model, TensorMap } from "../../compiler/index.ts";
import { settingKey } from "../../compiler/index.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import { dataTypes, toFloat32 } from "../checkpoint/data-type.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import { countElements } from "../checkpoint/strided.ts";
import type { ParameterSource } from "../gpu/parameters.ts";

export interface Unlike {
  /** The model with the tensor as a parameter of its own. */
  readonly callee: ConstructorValue;
  readonly note: Diagnostic;
}

/** The first tensor that is not what the model takes it for; null when there is none. Throws `checkpoint/unlike` when no other model has a place for it. */
export async function findUnlike(
  checkpoint: Checkpoint,
  { entries, alike }: TensorMap,
  { model, callee, map, source }: { model: Model; callee: ConstructorValue; map: MapBinding; source: ParameterSource },
): Promise<Unlike | null> {
  if (alike.length === 0) return null;
  const used = new Set(entries.map((entry) => entry.tensor));
  for (const rule of alike)
    for (const name of checkpoint.tensors.keys()) {
      if (used.has(name) || !rule.matches(name) || (await holds(checkpoint, name, rule, model, source))) continue;
      return describe(checkpoint, name, rule, map, callee);
    }
  return null;
}

function describe(
  checkpoint: Checkpoint,
  name: string,
  { path, otherwise, span }: Alike,
  map: MapBinding,
  callee: ConstructorValue,
): Unlike {
  const labels = [{ span, text: `passed over only while it holds what \`${path}\` does` }];
  const message = `\`${name}\` of ${checkpoint.path} does not hold what \`${path}\` does`;
  if (otherwise === null)
    throw failure("checkpoint/unlike", message, {
      labels,
      help: "correct the settings of its model in config.json, so that it has the tensor as a parameter of its own",
    });
  const key = settingKey(map, otherwise.name) ?? otherwise.name;
  const said = { span: callee.places?.get(otherwise.name) ?? span, text: "said here" };
  return {
    callee: { ...callee, bound: new Map([...callee.bound, [otherwise.name, otherwise.value]]) },
    note: {
      code: "checkpoint/unlike",
      severity: "warning",
      message: `${message}, although config.json says so: it is read as a weight of its own`,
      labels: [said, ...labels],
      notes: [],
      help: `set \`${key}\` to what the weights are; \`moec export\` writes it so`,
    },
  };
}

/** Elements that are compared at a time. */
const BAND = 1 << 20;

/** Whether a tensor has the parameter's shape and values. */
async function holds(
  checkpoint: Checkpoint,
  name: string,
  { path }: Alike,
  model: Model,
  source: ParameterSource,
): Promise<boolean> {
  const { dtype, shape } = checkpoint.tensors.get(name)!;
  const sizes = model.parameters.find((p) => p.path === path)!.axes.map((a) => a.size);
  if (String(shape) !== String(sizes) || dataTypes[dtype].widen === null) return false;
  const storage = source.storage(path);
  const { width } = dataTypes[dtype];
  const count = countElements(sizes);
  for (let at = 0; at < count; at += BAND) {
    const length = Math.min(BAND, count - at);
    const [mine, other] = await Promise.all([
      checkpoint.readSlice(name, at * width, length * width),
      source.read(path, at, length),
    ]);
    const isSame =
      ELEMENTS[storage].dtype === dtype
        ? areSameBytes(mine, other.subarray(0, length * elementBytes(storage)))
        : areEqual(toFloat32(dtype, mine), toFloat32(ELEMENTS[storage].dtype, other));
    if (!isSame) return false;
  }
  return true;
}

function areEqual(a: Float32Array, b: Float32Array): boolean {
  return a.every((x, i) => x === b[i]);
}

/** Of one length. Word by word where both allow it, which is several times faster. */
function areSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  const isWords = (bytes: Uint8Array): boolean => bytes.byteOffset % 4 === 0 && bytes.byteLength % 4 === 0;
  const wordsOf = (bytes: Uint8Array) => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  const [x, y] = isWords(a) && isWords(b) ? [wordsOf(a), wordsOf(b)] : [a, b];
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return a.byteLength === b.byteLength;
}
