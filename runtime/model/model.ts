/**
 * A checkpoint as a model: its config read through the map of its family, every tensor matched to a parameter, both ways
 * complete, before any weight is read. Parameters are then read by path, in runs, in the type they are stored in.
 */
import type { ConfigFile, ConstructorValue, MapBinding, Model, TensorEntry, TensorMap } from "../../compiler/index.ts";
import {
  checkTotal,
  expandMap,
  findContradictions,
  findMap,
  lookupMap,
  makeModel,
  readConfig,
  type Workspace,
} from "../../compiler/index.ts";
import { type Diagnostic, DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import type { Folder } from "../checkpoint/folder.ts";
import { type Checkpoint, readCheckpoint } from "../checkpoint/store.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import { findUnlike } from "./alike.ts";
import { readConfigFile } from "./config-file.ts";
import { openEmbedded } from "./embedded.ts";
import { checkTensors, namesOf } from "./fit.ts";
import { parameterSource } from "./parameter-source.ts";
import { checkMerged, checkNoAdapter } from "./peft.ts";
import { checkQuantization } from "./quantization.ts";
import { type Renamed, renameTensors } from "./tensor-names.ts";
import { findTextPart } from "./text-part.ts";

export interface LoadedModel {
  readonly model: Model;
  readonly map: MapBinding;
  readonly config: ConfigFile;
  readonly checkpoint: Checkpoint;
  readonly entries: readonly TensorEntry[];
  readonly source: ParameterSource;
  /** Warnings: what was read where the files leave a choice. */
  readonly notes: readonly Diagnostic[];
}

/**
 * The model of a checkpoint's folder; throws one clear error when config, tensors and map do not fit together. `own` maps are tried before
 * those of the workspace's standard library.
 */
export async function readModel(
  folder: Folder,
  workspace: Workspace,
  own: readonly MapBinding[] = [],
): Promise<LoadedModel> {
  await checkNoAdapter(folder);
  const whole = await readConfigFile(folder);
  const maps = [...own, ...workspace.standard("map")];
  const part = findTextPart(whole, maps);
  let map = lookupMap(part ?? whole, maps);
  // Where the part about text is of no known family, the checkpoint may bring a map along, of all of it.
  const config = map === null ? whole : (part ?? whole);
  await checkQuantization(folder, whole, map);
  // What is wrong with config.json is told before the weights are looked at.
  const known = map === null ? null : configured(map, config);
  const opened = await readCheckpoint(folder);
  try {
    // A checkpoint of a family that nobody knows may bring its own along.
    map ??= openEmbedded(opened, workspace) ?? findMap(workspace, part ?? whole, own);
    checkMerged(opened);
    const read = known ?? configured(map, config);
    const { checkpoint, notes: named } = fitNames(opened, map, read.model, config !== whole);
    const notes: Diagnostic[] = [...findContradictions(map, config), ...named];
    let fitted = await fit(checkpoint, map, read.model);
    const unlike = await findUnlike(checkpoint, fitted.tensors, { ...read, map, source: fitted.source });
    if (unlike !== null) {
      notes.push(unlike.note);
      fitted = await fit(checkpoint, map, makeModel(unlike.callee, map.item.span));
    }
    const { model, tensors, source, left } = fitted;
    return { model, map, config, checkpoint, entries: tensors.entries, source, notes: [...notes, ...left] };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

function configured(map: MapBinding, config: ConfigFile): { callee: ConstructorValue; model: Model } {
  const callee = readConfig(map, config);
  return { callee, model: makeModel(callee, map.item.span) };
}

interface Fitted {
  readonly model: Model;
  readonly tensors: TensorMap;
  readonly source: ParameterSource;
  readonly left: readonly Diagnostic[];
}

/** Throws unless the checkpoint's tensors are those of the model, all of them. */
async function fit(checkpoint: Checkpoint, map: MapBinding, model: Model): Promise<Fitted> {
  const tensors = expand(checkpoint, map, model);
  const left = await checkTensors(checkpoint, tensors, map);
  return { model, tensors, source: parameterSource(checkpoint, tensors.entries), left };
}

function expand(checkpoint: Checkpoint, map: MapBinding, model: Model): TensorMap {
  const bag = new DiagnosticBag();
  const tensors = expandMap(map, model, new Set(checkpoint.tensors.keys()), bag);
  if (!bag.hasErrors) checkTotal(model, tensors.entries, bag, map.item.span);
  if (bag.hasErrors) throw new MoeError(bag.list);
  return tensors;
}

/** The checkpoint under the names that the map has, where it has others. */
function fitNames(opened: Checkpoint, map: MapBinding, model: Model, isPart: boolean): Renamed {
  const { entries, ignored } = expand(opened, map, model);
  const names = namesOf(entries);
  if (!isPart && names.every((name) => opened.tensors.has(name))) return { checkpoint: opened, notes: [] };
  return renameTensors(opened, names, ignored, isPart);
}
