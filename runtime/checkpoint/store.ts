/**
 * A checkpoint as Hugging Face lays it out, seen as one namespace of tensors: a directory with `model.safetensors`, or
 * with shards and their index, or with one other safetensors file; or such a file by itself. Only headers are read on
 * opening. Any number of reads may run at once; `close` ends the use of all files.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/suggest.ts";
import { type DataType, toFloat32 } from "./data-type.ts";
import { type Folder, readJsonObject } from "./folder.ts";
import { type FileFacts, readSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { checkShards, INDEX_NAME, type IndexGaps, readIndex } from "./shard-index.ts";

export interface StoredTensor {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** Path of the file that holds it. */
  readonly file: string;
  /** Where it begins in that file, in bytes from the file's start. */
  readonly offset: number;
  readonly bytes: number;
}

export interface Checkpoint {
  /** What was opened. */
  readonly path: string;
  /** The parsed `config.json` beside the weights, or null where there is none. */
  readonly config: Readonly<Record<string, unknown>> | null;
  /** Every tensor by name, in the order of files and of bytes within them. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Where its index and its files differ. */
  readonly gaps: IndexGaps;
  /** Its weight files as they were when they were opened. */
  readonly files: readonly FileFacts[];
  /** The strings under `__metadata__` of its first file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Throws `checkpoint/changed` when one of its files was written to since. */
  checkUnchanged(): Promise<void>;
  /** All bytes of a tensor, in an array of their own. Throws `checkpoint/unknown-tensor`. */
  readTensor(name: string): Promise<Uint8Array>;
  /** Part of a tensor, into `target` where given: what is returned is the filled beginning of it. */
  readSlice(name: string, byteOffset: number, byteLength: number, target?: Uint8Array): Promise<Uint8Array>;
  /** All values of a tensor in float32. Throws `checkpoint/no-conversion` for 8-bit floats. */
  toFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * The weights of a folder, or one file of it. Throws a `MoeError`: `checkpoint/no-weights`, `ambiguous-weights`, `bad-index`,
 * `missing-shard`, `index-mismatch`, `bad-json`, and the codes of `readSafetensors`.
 */
export async function readCheckpoint(folder: Folder, file: string | null = null): Promise<Checkpoint> {
  const path = file === null ? folder.path : folder.pathOf(file);
  const weights = file === null ? await findWeights(folder) : { files: [file], index: null };
  const config = await readJsonObject(folder, "config.json");
  const files = await openAll(folder, weights.files);
  const close = async (): Promise<void> => {
    await Promise.all(files.map((file) => file.close()));
  };
  let gaps: IndexGaps;
  try {
    gaps = checkShards(path, files, weights.index);
  } catch (cause) {
    await close();
    throw cause;
  }
  const owners = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file] as const)));
  const ownerOf = (name: string): SafetensorsFile => {
    const file = owners.get(name);
    if (file !== undefined) return file;
    const near = suggest(name, owners.keys());
    throw failure("checkpoint/unknown-tensor", `\`${path}\` has no tensor \`${name}\``, {
      ...(near === null ? {} : { help: `did you mean \`${near}\`?` }),
    });
  };
  const readTensor = async (name: string): Promise<Uint8Array> => ownerOf(name).read(name);
  const tensors = new Map(files.flatMap(listTensors).map((tensor) => [tensor.name, tensor]));
  return {
    path,
    config,
    tensors,
    gaps,
    files: files.map((file) => file.facts),
    metadata: files[0]?.metadata ?? {},
    checkUnchanged: async () => {
      await Promise.all(files.map((file) => file.checkUnchanged()));
    },
    readTensor,
    readSlice: async (name, byteOffset, length, into) =>
      ownerOf(name).read(name, { byteOffset, length, ...(into === undefined ? {} : { into }) }),
    toFloat32: async (name) => toFloat32(ownerOf(name).tensors.get(name)!.dtype, await readTensor(name)),
    close,
  };
}

interface Weights {
  /** Names of the files in the folder. */
  readonly files: readonly string[];
  /** File by tensor name, where an index says so. */
  readonly index: ReadonlyMap<string, string> | null;
}

/** Looks where transformers looks, in its order; a lone safetensors file of another name is taken as well. */
async function findWeights(folder: Folder): Promise<Weights> {
  const { path } = folder;
  const names = await folder.list();
  if (names.includes("model.safetensors")) return { files: ["model.safetensors"], index: null };
  if (names.includes(INDEX_NAME)) {
    const index = await readIndex(folder, names);
    const files = [...new Set(index.values())].filter((file) => names.includes(file));
    return { files: files.sort(), index };
  }
  const others = names.filter((name) => name.endsWith(".safetensors"));
  if (others.length === 0) throw noWeights(path, names);
  if (others.length > 1) {
    throw failure("checkpoint/ambiguous-weights", `\`${path}\` has ${others.length} safetensors files and no index`, {
      notes: [others.join(", ")],
      help: `name one of them, or add \`${INDEX_NAME}\``,
    });
  }
  return { files: others, index: null };
}

function noWeights(path: string, names: readonly string[]): Error {
  const other = names.find((name) => /\.(bin|pt|pth|gguf|h5|msgpack)$/.test(name));
  return failure("checkpoint/no-weights", `\`${path}\` has no safetensors file`, {
    notes: other === undefined ? [] : [`\`${other}\` is of a format that is not read here`],
    help:
      other === undefined
        ? "give a directory with `model.safetensors` or its index"
        : "save the model again with transformers' `save_pretrained`, which writes safetensors",
  });
}

/** All or none: what was opened before a failure is closed. */
async function openAll(folder: Folder, names: readonly string[]): Promise<SafetensorsFile[]> {
  const results = await Promise.allSettled(names.map(async (name) => readSafetensors(await folder.open(name))));
  const files = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = results.find((result) => result.status === "rejected");
  if (failed === undefined) return files;
  await Promise.all(files.map((file) => file.close()));
  throw failed.reason;
}

function listTensors(file: SafetensorsFile): StoredTensor[] {
  return [...file.tensors.values()].map(({ name, dtype, shape, offset, bytes }) => ({
    name,
    dtype,
    shape,
    file: file.path,
    offset: file.dataStart + offset,
    bytes,
  }));
}
