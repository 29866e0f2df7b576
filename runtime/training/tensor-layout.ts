/** Values of parameters as a tensor of a checkpoint has them: the way back of what reading a checkpoint does. */
import type { Piece } from "../../compiler/index.ts";
import { countElements, scatter } from "../checkpoint/strided.ts";

/** f32 in the order of the tensor; zeros where a parameter has no values. */
export function layOutTensor(
  shape: readonly number[],
  pieces: readonly Piece[],
  valuesOf: (path: string) => Float32Array | undefined,
): Float32Array {
  const values = new Float32Array(countElements(shape));
  const out = bytesOf(values);
  for (const piece of pieces) {
    const length = countElements(piece.sizes);
    const own = valuesOf(piece.path)?.subarray(piece.target, piece.target + length);
    if (own === undefined) continue;
    scatter(bytesOf(own), 4, piece, { start: 0, length }, { start: 0, length: values.length }, out);
  }
  return values;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
