/**
 * Writes a checkpoint as a stream: what the tensors are is known first, their bytes come in pieces and are never held here. All of it goes to a hidden folder that one rename makes visible, so a final name never shows half
 * a checkpoint. What is renamed has been flushed to the disk before. With a fingerprint, the hidden folder survives a kill.
 */
import { type FileHandle, mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { listTemplates, TEMPLATE_FOLDER } from "./chat-template.ts";
import { openFlusher } from "./flusher.ts";
import { type Journal, openJournal, type Origin } from "./journal.ts";
import { attempt, checkSpace, checkTarget, flushDirectory, publish, writeFlushed } from "./publish.ts";
import { byteSize, type TensorSpec } from "./safetensors-header.ts";
import { INDEX_NAME } from "./shard-index.ts";
import { formatIndex, layOutShards, type Shard } from "./shard-layout.ts";
import { openSink } from "./sink.ts";
import { createSibling, discard } from "./temporary.ts";

export interface WriterOptions {
  /** Data bytes after which a new file begins; 5 GB unless given, as Hugging Face has it. */
  readonly maxShardBytes?: number;
  /** Strings for the header of every file, beside `format: pt`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Replace a checkpoint that is already there; nothing but a checkpoint is ever replaced. */
  readonly overwrite?: boolean;
  /** Says what the bytes follow from. With it, a run that was killed is continued by the next with the same. */
  readonly fingerprint?: string;
}

export interface CheckpointWriter {
  /** Data bytes of all tensors. */
  readonly totalBytes: number;
  readonly origin: Origin;
  /** SHA-256 of the tensors that are finished, those of an earlier run among them, which take no more bytes. */
  readonly done: ReadonlyMap<string, string>;
  /** Which file holds a tensor, and where in it. */
  place(name: string): { readonly file: string; readonly start: number; readonly end: number };
  /** The next bytes of a tensor. Tensors come in any order, also at the same time. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** All bytes of a tensor are written: a later run need not. */
  finish(name: string): Promise<void>;
  /** A small file beside the weights, e.g. `config.json`. */
  addFile(name: string, content: string | Uint8Array): Promise<void>;
  /** Copies the tokenizer and chat template of another checkpoint. Returns the names of the files it had. */
  copyTokenizer(directory: string): Promise<readonly string[]>;
  /** Publishes everything under the final name. Throws an Error, and publishes nothing, when a tensor lacks bytes. */
  commit(): Promise<void>;
  /** Removes everything. Harmless after `commit`. */
  abort(): Promise<void>;
  /** Stops here; with a fingerprint, what is finished waits for the next run. */
  leave(): Promise<void>;
}

/**
 * `target` is the directory to make. Throws a `MoeError` before anything is written: `checkpoint/target-exists`,
 * `checkpoint/disk-full`, `checkpoint/busy`. A failed write throws `checkpoint/write-failed`; `abort` is then up to the caller.
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
  const journal = await attempt(final, () =>
    options.fingerprint === undefined ? temporaryJournal(final) : openJournal(final, options.fingerprint),
  );
  const { directory, origin } = journal;
  const done = new Map(journal.done);
  const owners = new Map<string, { readonly handle: FileHandle; readonly shard: Shard }>();
  const handles: FileHandle[] = [];
  const totalBytes = tensors.reduce((sum, tensor) => sum + byteSize(tensor), 0);
  try {
    await attempt(final, async () => {
      const needed = shards.reduce((sum, shard) => sum + shard.bytes, 0);
      await checkSpace(final, needed - (await allocatedBytes(directory)));
      for (const shard of shards) {
        const handle = await open(join(directory, shard.name), origin === "resumed" ? "r+" : "wx");
        handles.push(handle);
        await handle.writeFile(shard.header);
        for (const name of shard.positions.keys()) owners.set(name, { handle, shard });
      }
      if (shards.length > 1) await writeFlushed(join(directory, INDEX_NAME), formatIndex(shards, totalBytes));
      await flushDirectory(directory);
      await journal.begin();
    });
  } catch (cause) {
    await Promise.all(handles.map((handle) => handle.close()));
    await journal.discard();
    throw cause;
  }
  for (const name of done.keys()) progress.get(name)!.written = progress.get(name)!.bytes;

  const sink = openSink(totalBytes - [...done.keys()].reduce((sum, name) => sum + progress.get(name)!.bytes, 0));
  const flusher = openFlusher(journal, handles);
  const end = async (how: "leave" | "discard"): Promise<void> => {
    await flusher.end().catch(() => undefined);
    await sink.close();
    await Promise.all(handles.splice(0).map((handle) => handle.close()));
    await journal[how]();
  };
  return {
    totalBytes,
    origin,
    done,
    place: (name) => {
      const { shard } = owners.get(name)!;
      const start = shard.positions.get(name)!;
      return { file: shard.name, start, end: start + progress.get(name)!.bytes };
    },
    write: async (name, bytes) => {
      const state = progress.get(name);
      const owner = owners.get(name);
      if (state === undefined || owner === undefined) throw new Error(`\`${name}\` was not announced to the writer`);
      const at = state.given;
      // Counted before the wait: the next bytes may come during it.
      state.given += bytes.byteLength;
      if (state.given > state.bytes) throw new Error(`\`${name}\` has ${state.bytes} bytes, was given ${state.given}`);
      const { handle, shard } = owner;
      await attempt(final, () => sink.write(name, bytes, handle.fd, shard.positions.get(name)! + at));
      state.written += bytes.byteLength;
      flusher.add(handle, bytes.byteLength);
    },
    finish: async (name) => {
      const sha256 = await sink.end(name);
      await attempt(final, () => journal.record(name, sha256));
      done.set(name, sha256);
    },
    addFile: (name, content) => attempt(final, () => writeFlushed(join(directory, plainName(name)), content)),
    copyTokenizer: (source) => attempt(final, () => copyTokenizer(source, directory)),
    commit: async () => {
      for (const [name, { written, bytes }] of progress) {
        if (written !== bytes) throw new Error(`\`${name}\` has ${bytes} bytes, ${written} of them are written`);
      }
      await attempt(final, async () => {
        await flusher.end();
        await sink.close();
        await Promise.all(handles.map((handle) => handle.sync()));
        await Promise.all(handles.splice(0).map((handle) => handle.close()));
        await flushDirectory(directory);
        await publish(directory, final, overwrite);
        await journal.discard();
      });
    },
    abort: () => end("discard"),
    leave: () => end("leave"),
  };
}

/** A journal without memory: gone with the process, whatever ends it. */
async function temporaryJournal(target: string): Promise<Journal> {
  const directory = await createSibling(target);
  const nothing = async (): Promise<void> => undefined;
  const remove = (): Promise<void> => discard(directory);
  return {
    directory,
    origin: "new",
    done: new Map(),
    begin: nothing,
    record: nothing,
    flush: (flushData) => flushData(),
    leave: remove,
    discard: remove,
  };
}

/** What an earlier run has taken of the disk already. */
async function allocatedBytes(directory: string): Promise<number> {
  const stats = await Promise.all((await readdir(directory)).map((name) => stat(join(directory, name))));
  return stats.reduce((sum, { blocks }) => sum + 512 * blocks, 0);
}

/** Files of a Hugging Face directory that belong to its tokenizer. */
const TOKENIZER_FILES =
  /^(tokenizer(_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template\.(jinja|json))$/;

async function copyTokenizer(source: string, directory: string): Promise<readonly string[]> {
  const names = (await readdir(source)).filter((name) => TOKENIZER_FILES.test(name)).sort();
  const templates = listTemplates(source);
  if (templates.length > 0) await mkdir(join(directory, TEMPLATE_FOLDER), { recursive: true });
  const all = [...names, ...templates.map((name) => join(TEMPLATE_FOLDER, name))];
  for (const name of all) await writeFlushed(join(directory, name), await readFile(join(source, name)));
  if (templates.length > 0) await flushDirectory(join(directory, TEMPLATE_FOLDER));
  return all;
}

function plainName(name: string): string {
  if (name !== basename(name) || name === "" || name === "." || name === "..")
    throw new Error(`\`${name}\` is not a plain file name`);
  return name;
}
