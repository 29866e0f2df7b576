/**
 * One safetensors file, opened by its header alone; tensor data is read by position when asked for, so a file of any
 * length costs no memory. Reads do not share a file cursor: any number may run at once. Positions are plain numbers,
 * exact to 2^53.
 */
import { createHash } from "node:crypto";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { FileError } from "../files/error.ts";
import { openToRead, recode } from "../files/read.ts";
import type { OpenFile } from "../files/system.ts";
import { badHeader, type Header, MAX_HEADER_BYTES, parseHeader, type TensorEntry } from "./safetensors-header.ts";

/** Of one system call: larger ones are several times slower on some systems, smaller ones on none. */
const CHUNK_BYTES = 2 << 20;

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
 * Throws a `MoeError`: `checkpoint/unreadable` when there is no such file, `checkpoint/bad-header` and the codes of
 * `parseHeader` when it is not a sound safetensors file.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = recode("checkpoint/unreadable", () => openOrdinary(path));
  try {
    const { header, dataStart, facts } = await readHeader(file, path);
    const tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
    return {
      path,
      facts,
      metadata: header.metadata,
      tensors,
      dataStart,
      read: (name, options = {}) => readTensor(file, path, dataStart, tensors.get(name), name, options),
      checkUnchanged: () => checkUnchanged(file, facts),
      close: async () => file.close(),
    };
  } catch (cause) {
    file.close();
    throw cause;
  }
}

function openOrdinary(path: string): OpenFile {
  try {
    return openToRead(path);
  } catch (error) {
    if (!(error instanceof MoeError) || error instanceof FileError) throw error;
    throw badHeader(path, error.diagnostics[0]!.message);
  }
}

interface Opened {
  readonly header: Header;
  readonly dataStart: number;
  readonly facts: FileFacts;
}

async function readHeader(file: OpenFile, path: string): Promise<Opened> {
  const stat = file.stat();
  const bytes = Number(stat.size);
  if (bytes < 8) throw badHeader(path, `it has ${bytes} bytes, fewer than the 8 that give the header's length`);
  const prefix = await readExactly(file, path, "its header", 0, new Uint8Array(8));
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) throw badHeader(path, `its header would have ${length} bytes, more than 100 MB`);
  if (length > bytes - 8) throw badHeader(path, `its header would have ${length} bytes, more than the file`);
  const json = await readExactly(file, path, "its header", 8, new Uint8Array(length));
  const facts = { path, bytes, modified: stat.mtimeNs, header: createHash("sha256").update(json).digest("hex") };
  return { header: parseHeader(json, path, bytes - 8 - length), dataStart: 8 + length, facts };
}

async function checkUnchanged(file: OpenFile, { path, bytes, modified }: FileFacts): Promise<void> {
  const stat = file.stat();
  if (Number(stat.size) === bytes && stat.mtimeNs === modified) return;
  throw failure("checkpoint/changed", `\`${path}\` was written to while it was read`, {
    help: "wait until nothing else writes to it, and start again",
  });
}

async function readTensor(
  file: OpenFile,
  path: string,
  dataStart: number,
  tensor: TensorEntry | undefined,
  name: string,
  options: ReadOptions,
): Promise<Uint8Array> {
  if (tensor === undefined) throw failure("checkpoint/unknown-tensor", `\`${path}\` has no tensor \`${name}\``);
  const { byteOffset = 0, length = tensor.bytes - byteOffset, into } = options;
  if (byteOffset < 0 || length < 0 || byteOffset + length > tensor.bytes) {
    throw new RangeError(`bytes ${byteOffset} to ${byteOffset + length} of \`${name}\`, which has ${tensor.bytes}`);
  }
  if (into !== undefined && into.byteLength < length) {
    throw new RangeError(`${length} bytes of \`${name}\` do not fit into ${into.byteLength}`);
  }
  const target = into === undefined ? new Uint8Array(length) : into.subarray(0, length);
  return readExactly(file, path, `tensor \`${name}\``, dataStart + tensor.offset + byteOffset, target);
}

/** Fills `target`; a read may return less than asked for, and nothing at all only at the end of the file. */
async function readExactly<B extends ArrayBufferLike>(
  file: OpenFile,
  path: string,
  what: string,
  position: number,
  target: Uint8Array<B>,
): Promise<Uint8Array<B>> {
  for (let done = 0; done < target.byteLength;) {
    const chunk = target.subarray(done, done + CHUNK_BYTES);
    const bytesRead = await file.read(chunk, position + done).catch((cause: unknown) => {
      if (!(cause instanceof FileError)) throw cause;
      throw failure("checkpoint/unreadable", `cannot read ${what} of \`${path}\`: ${cause.reason}`, {
        help: "check the disk, or fetch the file again",
      });
    });
    if (bytesRead === 0) {
      throw failure("checkpoint/truncated", `\`${path}\` became shorter while ${what} was read`, {
        help: "fetch the file again: it is not complete",
      });
    }
    done += bytesRead;
  }
  return target;
}
