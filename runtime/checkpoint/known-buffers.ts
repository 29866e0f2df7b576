/**
 * Tensors that many programs save beside weights and that say nothing which config.json does not: angles of rotary positions,
 * causal masks, counted positions, states of other programs. They may stand in any checkpoint, whatever its family.
 */
import type { DataType } from "./data-type.ts";
import type { StoredTensor } from "./store.ts";

interface BufferKind {
  /** For messages, in the plural. */
  readonly what: string;
  /** Of the whole name. */
  readonly name: RegExp;
  readonly dtypes: readonly DataType[];
  /** A weight of the same name would have another. */
  readonly shape: (shape: readonly number[]) => boolean;
  /** Whether leaving it out could be seen where it is not made of ones: then it is said. */
  readonly onesOnly?: true;
}

const FLOATS: readonly DataType[] = ["F64", "F32", "F16", "BF16"];
const INTEGERS: readonly DataType[] = ["I64", "I32"];

const isScalar = (shape: readonly number[]): boolean => shape.every((n) => n === 1) && shape.length <= 1;
const isVector = (shape: readonly number[]): boolean => shape.length === 1;
const isRow = (shape: readonly number[]): boolean => shape.slice(0, -1).every((n) => n === 1);
const isMask = ([a, b, rows, columns, ...more]: readonly number[]): boolean =>
  a === 1 && b === 1 && rows !== undefined && rows === columns && more.length === 0;

const BUFFERS: readonly BufferKind[] = [
  { what: "rotary frequencies", name: /(?:^|[._])inv_freq$|(?:^|\.)rope\.freqs$/, dtypes: FLOATS, shape: isVector },
  {
    what: "rotary tables",
    name: /(?:^|\.)rotary\w*\.(?:cos|sin)_cached$/,
    dtypes: FLOATS,
    shape: (shape) => shape.length >= 2,
  },
  {
    what: "causal masks",
    name: /(?:^|\.)(?:self_)?att(?:n|ention)\.bias$/,
    dtypes: [...FLOATS, "BOOL", "U8", "I8"],
    shape: isMask,
  },
  {
    what: "values of masks",
    name: /(?:^|\.)(?:self_)?att(?:n|ention)\.masked_bias$/,
    dtypes: FLOATS,
    shape: isScalar,
  },
  { what: "counted positions", name: /(?:^|\.)position_ids$/, dtypes: INTEGERS, shape: isRow },
  { what: "states of layers of another program", name: /\._extra_state$/, dtypes: ["U8"], shape: () => true },
  {
    what: "scales of a cache in 8 bits",
    name: /(?:^|\.)(?:k|v|kv|q|prob)_scale$/,
    dtypes: FLOATS,
    shape: isScalar,
    onesOnly: true,
  },
];

/** What a tensor is by its name, type and shape, where it is a buffer; null for everything that may be a weight. */
export function findBuffer({ name, dtype, shape }: StoredTensor): BufferKind | null {
  return BUFFERS.find((kind) => kind.name.test(name) && kind.dtypes.includes(dtype) && kind.shape(shape)) ?? null;
}
