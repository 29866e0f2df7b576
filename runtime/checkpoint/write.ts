/**
 * Writes a checkpoint as a stream: what the tensors are is known first, their bytes come in pieces, in any order, and are
 * never held here. All of it goes to a hidden directory that one rename makes visible, so a final name never shows half
 * a checkpoint. What is renamed has been flushed to the disk before.
 */
import { copyFile, type FileHandle, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { byteSize, type TensorSpec } from "./safetensors-header.ts";
import { INDEX_NAME } from "./shard-index.ts";
import { formatIndex, layOutShards, type Shard } from "./shard-layout.ts";
import { createSibling, discard, keep } from "./temporary.ts";

export interface WriterOptions {
  /** Data bytes after which a new file begins; 5 GB unless given, as Hugging Face has it. */
  readonly maxShardBytes?: number;
  /** Strings for the header of every file, beside `format: pt`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Replace a checkpoint that is already there; nothing but a checkpoint is ever replaced. */
  readonly overwrite?: boolean;
}

export interface CheckpointWriter {
  /** Data bytes of all tensors. */
  readonly totalBytes: number;
  /** The next bytes of a tensor. Pieces of one tensor come in order; tensors come in any order, also at the same time. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** A small file beside the weights, e.g. `config.json`. */
  addFile(name: string, content: string | Uint8Array): Promise<void>;
  /** Copies the tokenizer and chat template of another checkpoint. Returns the names of the files it had. */
  copyTokenizer(directory: string): Promise<readonly string[]>;
  /** Publishes everything under the final name. Throws an Error, and publishes nothing, when a tensor lacks bytes. */
  commit(): Promise<void>;
  /** Removes everything. Harmless after `commit`. */
  abort(): Promise<void>;
}

/**
 * `target` is the directory to make. Throws a `MoeError` before anything is written: `checkpoint/target-exists`,
 * `checkpoint/disk-full`. A failed write throws `checkpoint/write-failed`; `abort` is then up to the caller.
 */
export async function createCheckpoint(
  target: string,
  tensors: readonly TensorSpec[],
  options: WriterOptions = {},
): Promise<CheckpointWriter> {
  const { maxShardBytes = 5e9, metadata = {}, overwrite = false } = options;
  const final = resolve(target);
  const progress = new Map(tensors.map((tensor) => [tensor.name, { given: 0, written: 0, bytes: byteSize(tensor) }]));
  if (progress.size !== tensors.length) throw new Error("two tensors of one checkpoint have the same name");
  const shards = layOutShards(tensors, maxShardBytes, { format: "pt", ...metadata });
  await checkTarget(final, overwrite);
  const directory = await createSibling(final);
  const handles: FileHandle[] = [];
  const closeAll = async (): Promise<void> => {
    await Promise.all(handles.splice(0).map((handle) => handle.close()));
  };
  const abort = async (): Promise<void> => {
    await closeAll();
    await discard(directory);
  };
  const owners = new Map<string, { handle: FileHandle; shard: Shard }>();
  const totalBytes = tensors.reduce((sum, tensor) => sum + byteSize(tensor), 0);
  try {
    await checkSpace(final, directory, shards);
    for (const shard of shards) {
      const handle = await open(join(directory, shard.name), "wx");
      handles.push(handle);
      await writeAt(handle, shard.header, 0);
      for (const name of shard.positions.keys()) owners.set(name, { handle, shard });
    }
    if (shards.length > 1) await writeFlushed(join(directory, INDEX_NAME), formatIndex(shards, totalBytes));
  } catch (cause) {
    await abort();
    throw describe(final, cause);
  }

  return {
    totalBytes,
    abort,
    write: async (name, bytes) => {
      const state = progress.get(name);
      const owner = owners.get(name);
      if (state === undefined || owner === undefined) throw new Error(`\`${name}\` was not announced to the writer`);
      const position = owner.shard.positions.get(name)! + state.given;
      // Counted before the wait, so that pieces written at the same time do not meet.
      state.given += bytes.byteLength;
      if (state.given > state.bytes) throw new Error(`\`${name}\` has ${state.bytes} bytes, was given ${state.given}`);
      await attempt(final, () => writeAt(owner.handle, bytes, position));
      state.written += bytes.byteLength;
    },
    addFile: (name, content) => attempt(final, () => writeFlushed(join(directory, plainName(name)), content)),
    copyTokenizer: (source) => attempt(final, () => copyTokenizer(source, directory)),
    commit: async () => {
      for (const [name, { written, bytes }] of progress) {
        if (written !== bytes) throw new Error(`\`${name}\` has ${bytes} bytes, ${written} of them are written`);
      }
      await attempt(final, async () => {
        for (const handle of handles) await handle.sync();
        await closeAll();
        await flushDirectory(directory);
        await publish(directory, final, overwrite);
      });
      keep(directory);
    },
  };
}

/** Files of a Hugging Face directory that belong to its tokenizer. */
const TOKENIZER_FILES =
  /^(tokenizer(_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template\.(jinja|json))$/;

async function copyTokenizer(source: string, directory: string): Promise<readonly string[]> {
  const names = (await readdir(source)).filter((name) => TOKENIZER_FILES.test(name)).sort();
  for (const name of names) await copyFile(join(source, name), join(directory, name));
  return names;
}

async function checkTarget(target: string, overwrite: boolean): Promise<void> {
  const found = await stat(target).catch(() => null);
  if (found === null) return;
  if (!overwrite) {
    throw failure("checkpoint/target-exists", `\`${target}\` exists already`, {
      help: "choose another name, or allow it to be replaced with `--overwrite`",
    });
  }
  const names = found.isDirectory() ? await readdir(target) : [];
  const isCheckpoint = names.some((name) => name.endsWith(".safetensors"));
  if (isCheckpoint || (found.isDirectory() && names.length === 0)) return;
  throw failure("checkpoint/target-exists", `\`${target}\` is not a checkpoint, and is not replaced`, {
    help: "choose another name, or remove it yourself",
  });
}

async function checkSpace(target: string, directory: string, shards: readonly Shard[]): Promise<void> {
  const needed = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const { bavail, bsize } = await statfs(directory);
  if (needed <= bavail * bsize) return;
  throw failure("checkpoint/disk-full", `\`${target}\` needs ${needed} bytes, its disk has ${bavail * bsize} left`, {
    help: "free some space, or write to another disk",
  });
}

/** A directory cannot replace a full one in one step: the old one is moved aside, and moved back if the new one fails. */
async function publish(directory: string, target: string, overwrite: boolean): Promise<void> {
  await checkTarget(target, overwrite); // it may have come into being in the meantime
  const aside = join(dirname(target), `.${basename(target)}.replaced-${process.pid}`);
  const replaced = await rename(target, aside).then(
    () => true,
    () => false,
  );
  try {
    await rename(directory, target);
  } catch (cause) {
    if (replaced) await rename(aside, target);
    throw cause;
  }
  await flushDirectory(dirname(target));
  if (replaced) await rm(aside, { recursive: true, force: true });
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const chunk = bytes.subarray(done, done + 2 ** 28);
    const { bytesWritten } = await handle.write(chunk, 0, chunk.byteLength, position + done);
    done += bytesWritten;
  }
}

async function writeFlushed(path: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes names durable. Windows cannot open a directory, and needs no flush of it. */
async function flushDirectory(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().finally(() => handle.close());
}

function plainName(name: string): string {
  if (name !== basename(name) || name === "" || name === "." || name === "..")
    throw new Error(`\`${name}\` is not a plain file name`);
  return name;
}

async function attempt<T>(target: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw describe(target, cause);
  }
}

/** Errors of the operating system become ours; our own, and bugs, stay what they are. */
function describe(target: string, cause: unknown): unknown {
  const { syscall, code } = cause as NodeJS.ErrnoException;
  if (syscall === undefined) return cause;
  if (code === "ENOSPC") return failure("checkpoint/disk-full", `the disk became full while \`${target}\` was written`);
  return failure("checkpoint/write-failed", `\`${target}\` cannot be written: ${(cause as Error).message}`);
}
