/** The elements of a map's tensors, range by range, whether a checkpoint stores them as they are or in an encoding. */
import { encodings, type TensorEntry } from "../../compiler/index.ts";
import type { StoredPlace } from "../gpu/parameters.ts";
import { type DataType, dataTypes } from "./data-type.ts";
import { decoders } from "./decode.ts";
import type { Checkpoint } from "./store.ts";

export interface Elements {
  readonly dtype: DataType;
  /** Elements `start ..< start + count`, into `target` where given, as bytes of `dtype`. */
  readonly read: (start: number, count: number, target?: Uint8Array) => Promise<Uint8Array>;
  /** Where these elements are stored. */
  readonly places: (start: number, count: number) => readonly StoredPlace[];
}

/** Names of what decoders give. */
const DECODED = { bf16: "BF16" } as const satisfies Record<string, DataType>;
/** Values that are decoded at a time. */
const BAND = 1 << 20;

/** Of a tensor whose parts are all there in the right shapes. */
export function elementsOf(checkpoint: Checkpoint, { tensor, shape, stored }: TensorEntry): Elements {
  if (stored === null) return plain(checkpoint, tensor);
  const parts = stored.parts.map((part) => plain(checkpoint, part));
  const decode = decoders[stored.encoding];
  const dtype = DECODED[encodings[stored.encoding].storage];
  const { width } = dataTypes[dtype];
  return {
    dtype,
    read: async (start, count, target = new Uint8Array(width * count)) => {
      for (let at = 0; at < count; at += BAND) {
        const bits = new Uint16Array(Math.min(BAND, count - at));
        await decode(parts, shape, start + at, bits);
        target.set(new Uint8Array(bits.buffer), at * width);
      }
      return target.subarray(0, width * count);
    },
    // Which bytes of an encoding they are is the decoder's affair.
    places: () => parts.flatMap((part) => part.places(0, part.count)).map((place) => ({ ...place, whole: false })),
  };
}

function plain(checkpoint: Checkpoint, name: string): Elements & { readonly count: number } {
  const { name: stored, dtype, file, offset, bytes } = checkpoint.tensors.get(name)!;
  const { width } = dataTypes[dtype];
  return {
    dtype,
    count: bytes / width,
    read: (start, count, target) => checkpoint.readSlice(name, start * width, count * width, target),
    places: (start, count) => {
      const first = offset + start * width;
      return [{ tensor: stored, file, start: first, end: first + count * width, whole: true }];
    },
  };
}
