/**
 * A checkpoint as a model: its config read through the map of its family, every tensor matched to a parameter, both ways
 * complete, before any weight is read. Parameters are then read by path, in runs, in the type they are stored in.
 */
import type {
  ConfigFile,
  ConstructorValue,
  MapBinding,
  Model,
  Piece,
  TensorEntry,
  TensorMap,
  Workspace,
} from "../../compiler/index.ts";
import {
  checkTotal,
  expandMap,
  findContradictions,
  findMap,
  lookupMap,
  makeModel,
  readConfig,
} from "../../compiler/index.ts";
import type { StorageType } from "../../compiler/plan/plan.ts";
import { type Diagnostic, DiagnosticBag, failure, MoeError } from "../../grammar/diagnostic.ts";
import { checkOption, needed, text } from "../../grammar/option.ts";
import { dataTypes, openCheckpoint, resolveFolder, toFloat32, type Checkpoint } from "../checkpoint/index.ts";
import { findUnlike } from "./alike.ts";
import { readConfigFile } from "./config-file.ts";
import { isFolder, recode } from "../files/read.ts";
import { type Elements, elementsOf } from "../checkpoint/elements.ts";
import { openEmbedded } from "./embedded.ts";
import { checkTensors, namesOf } from "./fit.ts";
import { openWorkspace, readMaps } from "./modules.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import { commonType, STORAGE, STORAGE_BYTES } from "../checkpoint/storage.ts";
import { checkMerged, checkNoAdapter } from "./peft.ts";
import { checkQuantization } from "./quantization.ts";
import { type Renamed, renameTensors } from "./tensor-names.ts";
import { findTextPart } from "./text-part.ts";
import {
  blockLength,
  countElements,
  gather,
  isContiguous,
  offsetOf,
  type Range,
  windowOf,
} from "../checkpoint/strided.ts";

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

/** Opens a checkpoint folder; throws one clear error when config, tensors and map do not fit together. */
export async function loadModel(
  given: string,
  workspace: Workspace = openWorkspace(),
  own: readonly MapBinding[] = [],
): Promise<LoadedModel> {
  checkOption("loadModel", "folder", given, needed(text));
  const folder = resolveFolder(given);
  if (!recode("checkpoint/unreadable", () => isFolder(folder)))
    throw failure("checkpoint/no-folder", `there is no folder ${folder}`, {
      help: "give the folder of a checkpoint: config.json and safetensors files",
    });
  await checkNoAdapter(folder);
  const whole = readConfigFile(folder);
  const maps = [...own, ...workspace.standard("map")];
  const part = findTextPart(whole, maps);
  let map = lookupMap(part ?? whole, maps);
  // Where the part about text is of no known family, the checkpoint may bring a map along, of all of it.
  const config = map === null ? whole : (part ?? whole);
  await checkQuantization(folder, whole, map);
  // What is wrong with config.json is told before the weights are looked at.
  const known = map === null ? null : configured(map, config);
  const opened = await openCheckpoint(folder);
  try {
    // A checkpoint of a family that nobody knows may bring its own along.
    map ??= openEmbedded(opened) ?? findMap(workspace, part ?? whole, own);
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

/** A checkpoint read through the maps of a `.moe` file, where one is given, or of the standard library. */
export function loadWithMaps(folder: string, map: string | undefined): Promise<LoadedModel> {
  const workspace = openWorkspace();
  return loadModel(folder, workspace, map === undefined ? [] : readMaps(workspace, map));
}

/** Parameters by path out of the tensors that hold them. */
export function parameterSource(checkpoint: Checkpoint, entries: readonly TensorEntry[]): ParameterSource {
  const byPath = new Map<string, Part[]>();
  for (const entry of entries) {
    const tensor = elementsOf(checkpoint, entry);
    for (const piece of entry.pieces) {
      const list = byPath.get(piece.path) ?? [];
      list.push({ tensor, piece });
      byPath.set(piece.path, list);
    }
  }
  // The stored type, or f32 for anything that a GPU does not read.
  const storage = (path: string): StorageType =>
    commonType(byPath.get(path)!.map((p) => STORAGE[p.tensor.dtype] ?? "f32"));
  const read: ParameterSource["read"] = async (path, start, length, into) => {
    const type = storage(path);
    const width = STORAGE_BYTES[type];
    const out = (into ?? new Uint8Array(length * width)).subarray(0, length * width);
    for (const { tensor, piece, from, to } of heldBy(byPath.get(path)!, start, length)) {
      const place = out.subarray((from - start) * width, (to - start) * width);
      await readRun(tensor, piece, from - piece.target, type, place);
    }
    return out;
  };
  const places: ParameterSource["places"] = (path, start, length) =>
    heldBy(byPath.get(path)!, start, length).flatMap(({ tensor, piece, from, to }) => {
      const window = windowOf(piece, { start: from - piece.target, length: to - from });
      const places = tensor.places(window.start, window.length);
      return window.length === to - from ? places : places.map((place) => ({ ...place, whole: false }));
    });
  return { storage, read, places };
}

interface Part {
  readonly tensor: Elements;
  readonly piece: Piece;
}

/** The parts that hold some of these elements, with what they hold of them. */
function heldBy(
  parts: readonly Part[],
  start: number,
  length: number,
): readonly (Part & { from: number; to: number })[] {
  return parts.flatMap(({ tensor, piece }) => {
    const from = Math.max(start, piece.target);
    const to = Math.min(start + length, piece.target + countElements(piece.sizes));
    return from < to ? [{ tensor, piece, from, to }] : [];
  });
}

/** What a strided read may hold of a tensor at once. */
const BAND_BYTES = 8 << 20;
/** Blocks of this many bytes are read one by one, shorter ones together with what lies between them. */
const BLOCK_BYTES = 1 << 16;

/** Elements of a piece from `start` on, as many as fill `out`, in the type asked for. */
async function readRun(
  tensor: Elements,
  piece: Piece,
  start: number,
  type: StorageType,
  out: Uint8Array,
): Promise<void> {
  const { width } = dataTypes[tensor.dtype];
  const length = out.byteLength / STORAGE_BYTES[type];
  if (STORAGE[tensor.dtype] === type) return readStored(tensor, piece, { start, length }, out);
  const stored = new Uint8Array(length * width);
  await readStored(tensor, piece, { start, length }, stored);
  const values = toFloat32(tensor.dtype, stored);
  out.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** The same in the type of the tensor. */
async function readStored(tensor: Elements, piece: Piece, run: Range, out: Uint8Array): Promise<void> {
  const { width } = dataTypes[tensor.dtype];
  const block = blockLength(piece);
  const end = run.start + run.length;
  if (isContiguous(piece) || block * width >= BLOCK_BYTES) {
    for (let at = run.start; at < end;) {
      const count = Math.min(block - (at % block), end - at);
      const into = out.subarray((at - run.start) * width);
      await tensor.read(offsetOf(piece, at), count, into);
      at += count;
    }
    return;
  }
  const all = windowOf(piece, run);
  const band = Math.floor(BAND_BYTES / width);
  for (let at = all.start; at < all.start + all.length; at += band) {
    const window = { start: at, length: Math.min(band, all.start + all.length - at) };
    const bytes = await tensor.read(at, window.length);
    gather(bytes, width, piece, run, window, out);
  }
}
