/** A training run as its last checkpoint left it, to go on with the same bits, and what keeps it from that. */
import { join } from "node:path";
import type { MapBinding, Workspace } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { checkOption, needed, text } from "../../grammar/option.ts";
import { toFloat32 } from "../checkpoint/data-type.ts";
import { readSafetensors, type SafetensorsFile } from "../checkpoint/safetensors.ts";
import { findForeign } from "../files/manifest.ts";
import { exists, readText, recode } from "../files/read.ts";
import { diskSource } from "../load/disk-folder.ts";
import { loadModel } from "../load/load-model.ts";
import { openWorkspace } from "../load/modules.ts";
import type { LoadedModel } from "../model/model.ts";
import { CHECKPOINT } from "../save/own-files.ts";
import { MASTERS_NAME, OPTIMIZER_NAME } from "./checkpoint.ts";
import { listSteps, RECORD_NAME, stepFolder } from "./checkpoint-folder.ts";
import { parseRecord, type WrittenRecord } from "./train-record.ts";

export interface StoredTraining {
  /** Folder of the step. */
  readonly path: string;
  readonly record: WrittenRecord;
  /** The model as it is stored; `parameter` has it as it was trained. */
  readonly loaded: LoadedModel;
  /** Files that somebody has changed since they were written. */
  readonly changed: readonly string[];
  /** A parameter by path, as it was before it was rounded to what is stored. */
  parameter(path: string): Promise<Float32Array>;
  /** What the optimizer remembers: `m.blocks[0].ffn.up.w`, with its shape. */
  readonly states: ReadonlyMap<string, readonly number[]>;
  /** One of these. */
  state(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * The last step of a run's folder; null where there is none. Throws `train/bad-record`, and what reading a checkpoint throws: where that
 * one cannot be read, the one before it is still there to be moved in its place.
 */
export async function readTrainingCheckpoint(
  folder: string,
  workspace: Workspace = openWorkspace(),
  maps: readonly MapBinding[] = [],
): Promise<StoredTraining | null> {
  checkOption("readTrainingCheckpoint", "folder", folder, needed(text));
  const step = recode("checkpoint/unreadable", () => listSteps(folder)).at(-1);
  if (step === undefined) return null;
  const path = stepFolder(folder, step);
  const file = join(path, RECORD_NAME);
  const record = parseRecord(
    recode("checkpoint/unreadable", () => readText(file)),
    file,
  );
  const foreign = recode("checkpoint/unreadable", () => findForeign(path, CHECKPOINT.kind, CHECKPOINT.earlier));
  const loaded = await loadModel(path, workspace, maps);
  const opened: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all([loaded.checkpoint.close(), ...opened.map((file) => file.close())]);
  };
  const open = async (name: string): Promise<SafetensorsFile> => {
    const found = await readSafetensors(diskSource(join(path, name)));
    opened.push(found);
    return found;
  };
  try {
    const optimizer = await open(OPTIMIZER_NAME);
    const masters = exists(join(path, MASTERS_NAME)) ? await open(MASTERS_NAME) : null;
    const sizes = new Map(loaded.model.parameters.map((p) => [p.path, p.axes.reduce((n, a) => n * a.size, 1)]));
    checkMasters(loaded, masters, sizes, path);
    return {
      path,
      record,
      loaded,
      changed: (foreign ?? []).flatMap(({ name, isChanged }) => (isChanged ? [name] : [])),
      parameter: async (of) => {
        if (masters?.tensors.has(of) === true) return floatsOf(masters, of);
        return toFloat32("F32", await loaded.source.read(of, 0, sizes.get(of)!));
      },
      states: new Map([...optimizer.tensors.values()].map(({ name, shape }) => [name, shape])),
      state: (name) => floatsOf(optimizer, name),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function floatsOf(file: SafetensorsFile, name: string): Promise<Float32Array> {
  return toFloat32("F32", await file.read(name));
}

/** What is stored in a narrower type has its f32 beside it, all of it: Throws `train/bad-record`. */
function checkMasters(
  { model, source }: LoadedModel,
  masters: SafetensorsFile | null,
  sizes: ReadonlyMap<string, number>,
  path: string,
): void {
  for (const { path: of } of model.parameters) {
    const found = masters?.tensors.get(of);
    const elements = found?.shape.reduce((n, size) => n * size, 1);
    const isRight =
      found === undefined ? source.storage(of) === "f32" : found.dtype === "F32" && elements === sizes.get(of);
    if (isRight) continue;
    throw failure(
      "train/bad-record",
      `\`${join(path, MASTERS_NAME)}\` does not hold \`${of}\` in f32, and the weights have it rounded`,
      { help: "go on from an earlier checkpoint: move this one to another place" },
    );
  }
}

/** What the next steps depend on besides what is stored. */
export interface Going {
  readonly plan: string;
  readonly adapter: string;
}

/**
 * Throws `train/changed` where the steps that follow would not be those of an unbroken run: another plan, another adapter, files that were
 * changed; not with `acceptChanged`. Gives what differs.
 */
export function checkSame(
  { record, path, changed }: Pick<StoredTraining, "record" | "path" | "changed">,
  now: Going,
  acceptChanged = false,
): readonly string[] {
  const differences = [
    ...(record.plan === now.plan
      ? []
      : ["the plan that trains is another: model, recipe, device or moec have changed"]),
    ...(record.adapter === now.adapter ? [] : [`it ran on \`${record.adapter}\`, and this is \`${now.adapter}\``]),
    ...(changed.length === 0 ? [] : [`changed since they were written: ${changed.join(", ")}`]),
  ];
  if (differences.length === 0 || acceptChanged) return differences;
  throw failure("train/changed", `what follows \`${path}\` would not be what an unbroken run gives`, {
    notes: differences,
    help: "go on all the same with --accept-changed, or put back what has changed",
  });
}
