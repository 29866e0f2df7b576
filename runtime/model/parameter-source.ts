/** Parameters out of the tensors that hold them: by path, in runs, in the type that they are stored in. */
import type { Piece, TensorEntry } from "../../compiler/index.ts";
import { ELEMENTS, commonType, elementTypeOf, elementBytes, type ElementType } from "../checkpoint/element-type.ts";
import { dataTypes, toFloat32 } from "../checkpoint/data-type.ts";
import { type Elements, elementsOf } from "../checkpoint/elements.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import {
  blockLength,
  countElements,
  gather,
  isContiguous,
  offsetOf,
  type Range,
  windowOf,
} from "../checkpoint/strided.ts";
import type { ParameterSource } from "../gpu/parameters.ts";

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
  const storage = (path: string): ElementType =>
    commonType(byPath.get(path)!.map((p) => elementTypeOf(p.tensor.dtype) ?? "f32"));
  const read: ParameterSource["read"] = async (path, start, length, into) => {
    const type = storage(path);
    const width = elementBytes(type);
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
  const exact: ParameterSource["exact"] = async (path, at) => {
    const { tensor, piece } = heldBy(byPath.get(path)!, at, 1)[0]!;
    const stored = new Uint8Array(dataTypes[tensor.dtype].width);
    await readStored(tensor, piece, { start: at - piece.target, length: 1 }, stored);
    return tensor.dtype === "F64" ? new Float64Array(stored.buffer)[0]! : toFloat32(tensor.dtype, stored)[0]!;
  };
  return { storage, read, places, exact };
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
  type: ElementType,
  out: Uint8Array,
): Promise<void> {
  const { width } = dataTypes[tensor.dtype];
  const length = out.byteLength / elementBytes(type);
  if (ELEMENTS[type].dtype === tensor.dtype) return readStored(tensor, piece, { start, length }, out);
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
