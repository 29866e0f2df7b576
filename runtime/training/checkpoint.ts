/**
 * Checkpoints of a training run. Each step that is kept is a folder `step-00000100` of the run's, which loads anywhere as the model that is
 * trained does: its family's names, layout and types, config.json, tokenizer. Beside those:
 *
 * - `optimizer.safetensors`: f32, what the optimizer remembers, `m.blocks[0].ffn.up.w`;
 * - `masters.safetensors`: f32, by path, of the parameters whose tensors are stored as something narrower;
 * - `train.json`: where the run stands (`train-record.ts`).
 *
 *     checkTrainingFolder(folder, loaded)               // before the first step of a new run
 *     const lock = lockTraining(folder)                 // lock.release() at the end
 *     await writeTrainingCheckpoint(folder, { loaded, record, parameter, states })
 *     const stored = await readTrainingCheckpoint(folder)      // null where there is none
 *     checkSame(stored, { plan: hashPlan(plan), adapter: nameAdapter(device.adapter) }, acceptChanged)
 *
 * A step appears under its name when all of it is flushed. Limits: a tensor is in memory as a whole, with the parameters in it and a few more.
 */
import { createHash } from "node:crypto";
import type { Piece } from "../../compiler/index.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import {
  callback,
  checkOption,
  checkOptions,
  list,
  members,
  needed,
  object,
  type Rules,
  text,
  whole,
} from "../../grammar/option.ts";
import { type ElementType, ELEMENTS } from "../checkpoint/element-type.ts";
import { fromFloat32 } from "../checkpoint/data-type.ts";
import type { TensorSpec } from "../checkpoint/safetensors-header.ts";
import { countElements } from "../checkpoint/strided.ts";
import type { AdapterFacts } from "../gpu/adapter.ts";
import { findNotFinite } from "../gpu/finite.ts";
import type { LoadedModel } from "../model/model.ts";
import { attempt } from "../save/attempt.ts";
import { addCompanions } from "../save/companions.ts";
import { type CheckpointWriter, createCheckpoint, tensorOf } from "../save/write.ts";
import { planExport } from "../upcycle/export.ts";
import { VERSION } from "../version.ts";
import { checkLatest, listSteps, RECORD_NAME, removeOlder, stepFolder } from "./checkpoint-folder.ts";
import { formatRecord, type TrainingRecord } from "./train-record.ts";
import { layOutTensor } from "./tensor-layout.ts";

export const OPTIMIZER_NAME = "optimizer.safetensors";
export const MASTERS_NAME = "masters.safetensors";

type Values = Float32Array | Promise<Float32Array>;

/** What an optimizer remembers of a parameter, such as `m`; in its shape unless another is given. */
export interface OptimizerState {
  readonly state: string;
  readonly path: string;
  readonly shape?: readonly number[];
  readonly read: () => Values;
}

export interface TrainingCheckpoint {
  /** The model that is trained, as it was opened, or as its last checkpoint was. */
  readonly loaded: LoadedModel;
  readonly record: TrainingRecord;
  /** A parameter as it is now, by path, row-major over its axes. */
  readonly parameter: (path: string) => Values;
  readonly states: readonly OptimizerState[];
  /** Data bytes after which a new file of weights begins. */
  readonly maxShardBytes?: number;
}

const RECORD_RULES: Rules<TrainingRecord> = {
  step: needed(whole(0, Number.MAX_SAFE_INTEGER)),
  seed: needed(whole(0, Number.MAX_SAFE_INTEGER)),
  plan: needed(text),
  adapter: needed(text),
  data: needed(object("an object")),
  accumulators: needed(object("an object of lists of numbers")),
  run: needed(object("an object")),
};

const CHECKPOINT_RULES: Rules<TrainingCheckpoint> = {
  loaded: needed(object("a model, of `loadModel`", "model", "source", "checkpoint")),
  record: needed(members("where the run stands: { step, seed, plan, adapter, data, accumulators, run }", RECORD_RULES)),
  parameter: needed(callback),
  states: needed(list(object("a state", "state", "path", "read"), "a list of { state, path, read }")),
  maxShardBytes: whole(1, Number.MAX_SAFE_INTEGER),
};

export interface WrittenCheckpoint {
  readonly path: string;
  /** Older checkpoints that stay since somebody has put something into them, or changed them. */
  readonly left: readonly string[];
}

/**
 * Writes one step, then removes those before the last two. Throws `train/later-step`, `train/not-finite` before anything is published,
 * `checkpoint/overflow`, `checkpoint/disk-full`, `checkpoint/write-failed`, `checkpoint/busy`, `checkpoint/target-exists`.
 */
export async function writeTrainingCheckpoint(
  folder: string,
  checkpoint: TrainingCheckpoint,
): Promise<WrittenCheckpoint> {
  checkOption("writeTrainingCheckpoint", "folder", folder, needed(text));
  checkOptions("writeTrainingCheckpoint", checkpoint, CHECKPOINT_RULES);
  const { loaded, record, maxShardBytes } = checkpoint;
  const path = stepFolder(folder, record.step);
  const { tensors, config, metadata } = planExport(loaded);
  await attempt(path, () => checkLatest(folder, record.step));
  const axes = new Map(loaded.model.parameters.map((p) => [p.path, p.axes.map((axis) => axis.size)]));
  const states = checkpoint.states.map((s) => ({ ...s, shape: s.shape ?? axes.get(s.path)! }));
  const rounded = [
    ...new Set(tensors.flatMap(({ dtype, parts }) => (dtype === "f32" ? [] : parts.map((part) => part.piece.path)))),
  ];
  const writer = await createCheckpoint(
    path,
    tensors.map(({ name, dtype, shape }) => ({ name, dtype: ELEMENTS[dtype].dtype, shape })),
    {
      overwrite: true,
      metadata,
      beside: {
        [OPTIMIZER_NAME]: states.map(({ state, path: of, shape }) => float(`${state}.${of}`, shape)),
        ...(rounded.length === 0 ? {} : { [MASTERS_NAME]: rounded.map((of) => float(of, axes.get(of)!)) }),
      },
      ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
    },
  );
  try {
    const finite = checker(record.step);
    const parameter = rememberLast(async (of) =>
      finite(`parameter \`${of}\``, await checkpoint.parameter(of), countElements(axes.get(of)!)),
    );
    for (const { name, dtype, shape, parts } of tensors) {
      const pieces = parts.map((part) => part.piece);
      await writeTensor(writer, { name, dtype, shape, pieces }, parameter);
    }
    const whole = async (file: string, name: string, values: Float32Array): Promise<void> => {
      await writer.write(tensorOf(file, name), bytesOf(values));
      await writer.finish(tensorOf(file, name));
    };
    for (const of of rounded) await whole(MASTERS_NAME, of, await parameter(of));
    for (const { state, path: of, shape, read } of states)
      await whole(
        OPTIMIZER_NAME,
        `${state}.${of}`,
        finite(`\`${state}\` of \`${of}\``, await read(), countElements(shape)),
      );
    const versions = { moec: VERSION, node: process.versions.node };
    await writer.addFile(RECORD_NAME, formatRecord({ ...record, versions }));
    // The checkpoint that the run began with may be gone by now; the last one has all that it had.
    const last = listSteps(folder).at(-1);
    await addCompanions(writer, config, last === undefined ? loaded.checkpoint.path : stepFolder(folder, last));
    await writer.commit();
  } catch (error) {
    await writer.abort().catch(() => undefined);
    throw error;
  }
  return { path, left: await attempt(folder, () => removeOlder(folder)) };
}

/** Experts one by one take each of their few parameters again and again, in turn. */
function rememberLast(read: (path: string) => Promise<Float32Array>): (path: string) => Promise<Float32Array> {
  const last = new Map<string, Promise<Float32Array>>();
  return (path) => {
    const values = last.get(path) ?? read(path);
    last.delete(path);
    last.set(path, values);
    if (last.size > REMEMBERED) last.delete(last.keys().next().value!);
    return values;
  };
}

const REMEMBERED = 4;

interface Tensor {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
}

/** Throws `checkpoint/overflow` where its type cannot hold a value. */
async function writeTensor(
  writer: CheckpointWriter,
  { name, dtype, shape, pieces }: Tensor,
  parameter: (path: string) => Promise<Float32Array>,
): Promise<void> {
  const values = new Map<string, Float32Array>();
  for (const { path } of pieces) if (!values.has(path)) values.set(path, await parameter(path));
  const all = layOutTensor(shape, pieces, (path) => values.get(path));
  const bytes = fromFloat32(ELEMENTS[dtype].dtype, all);
  const at = findNotFinite(dtype, bytes);
  if (at !== null)
    throw failure("checkpoint/overflow", `${dtype} cannot hold ${all[at]}, element ${at} of \`${name}\``, {
      help: "train it from a checkpoint in f32 or bf16: `moec export CHECKPOINT --out WIDER --dtype bf16`",
    });
  await writer.write(name, bytes);
  await writer.finish(name);
}

const float = (name: string, shape: readonly number[]): TensorSpec => ({ name, dtype: "F32", shape });

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Throws `train/not-finite`: such a checkpoint would be worth nothing, and the last good one is still there. */
function checker(step: number): (what: string, values: Float32Array, length: number) => Float32Array {
  return (what, values, length) => {
    if (values.length !== length) throw new Error(`${what} has ${length} elements, and ${values.length} were given`);
    const at = findNotFinite("f32", bytesOf(values));
    if (at === null) return values;
    throw failure("train/not-finite", `${what} is NaN or infinite after step ${step}: element ${at} is ${values[at]}`, {
      help: "go on from the last checkpoint with a lower rate, or look at the data of this step",
    });
  };
}

/** Of what a plan computes; where its kernels come from in a text, and how they are called, does not count. */
export function hashPlan(plan: Plan): string {
  const told: ReadonlySet<string> = new Set(["label", "origin"]);
  return createHash("sha256")
    .update(JSON.stringify(plan, (key, value: unknown) => (told.has(key) ? undefined : value)))
    .digest("hex");
}

/** With its driver, since another may round otherwise. */
export const nameAdapter = ({ name, backend, driver }: AdapterFacts): string =>
  [name, backend, driver].filter((part) => part !== "").join(", ");
