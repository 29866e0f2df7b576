/**
 * One safetensors file, opened by its header alone; tensor data is read by position when asked for, so a file of any
 * length costs no memory. Reads do not share a file cursor: any number may run at once. Positions are plain numbers,
 * exact to 2^53.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { type ByteSource, Unreadable } from "./byte-source.ts";
import { badHeader, type Header, MAX_HEADER_BYTES, parseHeader, type TensorEntry } from "./safetensors-header.ts";

export interface ReadOptions {
  /** Where in the tensor to begin, in bytes; 0 unless given. */
  readonly byteOffset?: number;
  /** How many bytes; up to the tensor's end unless given. */
  readonly length?: number;
  /** Where to put them: at least `length` bytes. A new array unless given. */
  readonly into?: Uint8Array;
}

/** What tells a file from another of its name without reading its data. */
export interface FileFacts {
  readonly path: string;
  /** In its folder. */
  readonly name: string;
  readonly bytes: number;
  /** In nanoseconds since 1970. */
  readonly modified: bigint;
  /** SHA-256 of the header, in hexadecimal: names, dtypes, shapes and places of all tensors. */
  readonly header: string;
}

export interface SafetensorsFile {
  readonly path: string;
  /** As it was when it was opened. */
  readonly facts: FileFacts;
  readonly metadata: Header["metadata"];
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Where the data begins: a tensor lies at `dataStart + offset` in the file. */
  readonly dataStart: number;
  /** The bytes asked for, as the beginning of `into` or an array of their own. Throws a RangeError outside the tensor. */
  read(name: string, options?: ReadOptions): Promise<Uint8Array>;
  /** Throws `checkpoint/changed` when the file was written to since it was opened. */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Reads the header, and has the source from here on: it is closed with the file, or when its header is not sound. Throws a `MoeError`:
 * `checkpoint/bad-header` and the codes of `parseHeader`, `checkpoint/unreadable`.
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  try {
    const { header, dataStart, facts } = await readHeader(source);
    const tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
    return {
      path: source.path,
      facts,
      metadata: header.metadata,
      tensors,
      dataStart,
      read: (name, options = {}) => readTensor(source, dataStart, tensors.get(name), name, options),
      checkUnchanged: () => source.checkUnchanged(),
      close: () => source.close(),
    };
  } catch (cause) {
    await source.close();
    throw cause;
  }
}

interface Opened {
  readonly header: Header;
  readonly dataStart: number;
  readonly facts: FileFacts;
}

async function readHeader(source: ByteSource): Promise<Opened> {
  const { path, name, size, modified } = source;
  if (size < 8) throw badHeader(path, `it has ${size} bytes, fewer than the 8 that give the header's length`);
  const prefix = await readExactly(source, "its header", 0, new Uint8Array(8));
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) throw badHeader(path, `its header would have ${length} bytes, more than 100 MB`);
  if (length > size - 8) throw badHeader(path, `its header would have ${length} bytes, more than the file`);
  const json = await readExactly(source, "its header", 8, new Uint8Array(length));
  const facts = { path, name, bytes: size, modified, header: await sha256(json) };
  return { header: parseHeader(json, path, size - 8 - length), dataStart: 8 + length, facts };
}

/** In hexadecimal. */
async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function readTensor(
  source: ByteSource,
  dataStart: number,
  tensor: TensorEntry | undefined,
  name: string,
  options: ReadOptions,
): Promise<Uint8Array> {
  if (tensor === undefined) throw failure("checkpoint/unknown-tensor", `\`${source.path}\` has no tensor \`${name}\``);
  const { byteOffset = 0, length = tensor.bytes - byteOffset, into } = options;
  if (byteOffset < 0 || length < 0 || byteOffset + length > tensor.bytes) {
    throw new RangeError(`bytes ${byteOffset} to ${byteOffset + length} of \`${name}\`, which has ${tensor.bytes}`);
  }
  if (into !== undefined && into.byteLength < length) {
    throw new RangeError(`${length} bytes of \`${name}\` do not fit into ${into.byteLength}`);
  }
  const target = into === undefined ? new Uint8Array(length) : into.subarray(0, length);
  return readExactly(source, `tensor \`${name}\``, dataStart + tensor.offset + byteOffset, target);
}

/** Fills `target`. */
async function readExactly<B extends ArrayBufferLike>(
  source: ByteSource,
  what: string,
  position: number,
  target: Uint8Array<B>,
): Promise<Uint8Array<B>> {
  const read = await source.read(position, target).catch((cause: unknown) => {
    if (!(cause instanceof Unreadable)) throw cause;
    throw failure("checkpoint/unreadable", `cannot read ${what} of \`${source.path}\`: ${cause.reason}`, {
      help: "check the disk, or fetch the file again",
    });
  });
  if (read === target.byteLength) return target;
  throw failure("checkpoint/truncated", `\`${source.path}\` became shorter while ${what} was read`, {
    help: "fetch the file again: it is not complete",
  });
}
