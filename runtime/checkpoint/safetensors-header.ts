/**
 * The header of a safetensors file: eight bytes of little-endian length, then JSON that gives each tensor its dtype,
 * shape and byte range. Read strictly, for files come from strangers: ranges must cover the data exactly, sizes must
 * agree with shapes, and no name may occur twice, which `JSON.parse` alone would hide.
 * Format: https://huggingface.co/docs/safetensors#format, whose limit of 100 MB for the header holds here as well.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { type DataType, dataTypes, isDataType } from "./data-type.ts";
import { findDuplicateKey } from "./duplicate-key.ts";

export const MAX_HEADER_BYTES = 100_000_000;

/** What a tensor is, without where it is. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

/** A tensor of one file; `offset` counts from the start of the data, after the header. */
export interface TensorEntry extends TensorSpec {
  readonly offset: number;
  readonly bytes: number;
}

export interface Header {
  /** In the order in which their bytes lie in the file. */
  readonly tensors: readonly TensorEntry[];
  /** The strings under `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Checks and reads the JSON of a header. `file` is named in errors; `dataBytes` is how much of the file follows the header.
 * Throws a `MoeError` with one of the codes `checkpoint/bad-header`, `duplicate-tensor`, `unknown-dtype`, `bad-shape`,
 * `bad-offsets`, `truncated`.
 */
export function parseHeader(json: Uint8Array, file: string, dataBytes: number): Header {
  const root = parseObject(json, file);
  const metadata = checkMetadata(root["__metadata__"], file);
  const tensors = Object.entries(root)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => checkEntry(name, entry, file))
    .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  checkCoverage(tensors, file, dataBytes);
  return { tensors, metadata };
}

/** The first bytes of a file that holds `tensors` in this order without gaps: length, JSON, spaces to a multiple of 8. */
export function encodeHeader(tensors: readonly TensorSpec[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, unknown][] = [["__metadata__", metadata]];
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + byteSize(tensor);
    entries.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const length = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** Bytes of a tensor's data. */
export function byteSize({ dtype, shape }: Pick<TensorSpec, "dtype" | "shape">): number {
  return shape.reduce((product, size) => product * size, dataTypes[dtype].width);
}

function parseObject(json: Uint8Array, file: string): Record<string, unknown> {
  let text: string;
  let root: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    root = JSON.parse(text);
  } catch (cause) {
    throw badHeader(file, `its header is not valid JSON in UTF-8: ${(cause as Error).message}`);
  }
  if (!isRecord(root)) throw badHeader(file, "its header is not a JSON object");
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) {
    throw failure("checkpoint/duplicate-tensor", `\`${file}\` has \`${duplicate}\` twice in its header`, {
      help: CORRUPT,
    });
  }
  return root;
}

function checkMetadata(value: unknown, file: string): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (!isRecord(value) || Object.values(value).some((v) => typeof v !== "string")) {
    throw badHeader(file, "`__metadata__` in its header is not an object of strings");
  }
  return value as Record<string, string>;
}

function checkEntry(name: string, entry: unknown, file: string): TensorEntry {
  const at = `tensor \`${name}\` of \`${file}\``;
  if (!isRecord(entry)) throw badHeader(file, `tensor \`${name}\` is not described by an object`);
  const { dtype, shape, data_offsets: range } = entry;
  if (!isDataType(dtype)) {
    throw failure(
      "checkpoint/unknown-dtype",
      `${at} has dtype ${JSON.stringify(dtype) ?? "none"}, which is not known here`,
      {
        notes: [`known are ${Object.keys(dataTypes).join(", ")}`],
      },
    );
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw failure(
      "checkpoint/bad-shape",
      `${at} has shape ${JSON.stringify(shape) ?? "none"}, not a list of whole numbers from 0`,
      {
        help: CORRUPT,
      },
    );
  }
  if (!isRange(range)) {
    throw badOffsets(`${at} has offsets ${JSON.stringify(range) ?? "none"}, not a start and an end`);
  }
  const [offset, end] = range;
  const bytes = byteSize({ dtype, shape });
  if (bytes !== end - offset) {
    throw badOffsets(`${at} is ${dtype} [${shape.join(", ")}], ${bytes} bytes, but its offsets hold ${end - offset}`);
  }
  return { name, dtype, shape, offset, bytes };
}

/** Tensors, in file order, must follow each other from 0 to the end: neither overlaps nor bytes that belong to none. */
function checkCoverage(tensors: readonly TensorEntry[], file: string, dataBytes: number): void {
  let end = 0;
  for (const { name, offset, bytes } of tensors) {
    if (offset < end) throw badOffsets(`tensor \`${name}\` of \`${file}\` overlaps the tensor before it`);
    if (offset > end) throw badOffsets(`\`${file}\` has ${offset - end} unused bytes before tensor \`${name}\``);
    end += bytes;
    if (end > dataBytes) {
      throw failure("checkpoint/truncated", `\`${file}\` ends inside tensor \`${name}\``, {
        notes: [
          `the header promises ${tensors.reduce((sum, t) => sum + t.bytes, 0)} bytes of data, the file has ${dataBytes}`,
        ],
        help: "download the file again: it is not complete",
      });
    }
  }
  if (end < dataBytes) throw badOffsets(`\`${file}\` has ${dataBytes - end} bytes after its last tensor`);
}

const CORRUPT = "write the file again with the safetensors library: it is damaged or not made by it";

export function badHeader(file: string, problem: string): Error {
  return failure("checkpoint/bad-header", `\`${file}\` cannot be read as safetensors: ${problem}`, { help: CORRUPT });
}

function badOffsets(message: string): Error {
  return failure("checkpoint/bad-offsets", message, { help: CORRUPT });
}

/** Beyond 2^53 a product of sizes would be inexact, and no file is that long. */
function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRange(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isSize) && value[0]! <= value[1]!;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
