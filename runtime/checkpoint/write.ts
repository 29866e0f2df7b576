/**
 * Writes a checkpoint as a stream: what the tensors are is known first, their bytes come in pieces, in any order, and are
 * never held here. All of it goes to a hidden folder that one rename makes visible, so a final name never shows half
 * a checkpoint. What is renamed has been flushed to the disk before. With a fingerprint, the hidden folder survives a kill.
 */
import { type FileHandle, open, readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type Journal, openJournal, type Origin } from "./journal.ts";
import { attempt, checkSpace, checkTarget, flushDirectory, publish, writeFlushed } from "./publish.ts";
import { byteSize, type TensorSpec } from "./safetensors-header.ts";
import { INDEX_NAME } from "./shard-index.ts";
import { formatIndex, layOutShards, type Shard } from "./shard-layout.ts";
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
  /** Tensors that an earlier run has finished, with what it noted of each; they take no more bytes. */
  readonly done: ReadonlyMap<string, string>;
  /** Which file holds a tensor, and where in it. */
  place(name: string): { readonly file: string; readonly start: number; readonly end: number };
  /** Bytes of a tensor, from byte `at` on, or after those before. Pieces and tensors come in any order, also at the same time. */
  write(name: string, bytes: Uint8Array, at?: number): Promise<void>;
  /** All bytes of a tensor are written: a later run need not. `note` is what it is to know about them. */
  finish(name: string, note: string): void;
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

/** How much work a crash of the machine may cost. A flush slows down what is written meanwhile. */
const FLUSH_MILLISECONDS = 30_000;

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
  const owners = new Map<string, { readonly file: OpenFile; readonly shard: Shard }>();
  const handles: FileHandle[] = [];
  const totalBytes = tensors.reduce((sum, tensor) => sum + byteSize(tensor), 0);
  try {
    await attempt(final, async () => {
      const needed = shards.reduce((sum, shard) => sum + shard.bytes, 0);
      await checkSpace(final, needed - (await allocatedBytes(directory)));
      for (const shard of shards) {
        const handle = await open(join(directory, shard.name), origin === "resumed" ? "r+" : "wx");
        handles.push(handle);
        await writeAt(handle, shard.header, 0);
        const file: OpenFile = { handle, last: Promise.resolve() };
        for (const name of shard.positions.keys()) owners.set(name, { file, shard });
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
  for (const name of journal.done.keys()) progress.get(name)!.written = progress.get(name)!.bytes;

  const notes = openNotes(journal, handles);
  const end = async (how: "leave" | "discard"): Promise<void> => {
    await notes.end().catch(() => undefined);
    await Promise.all(handles.splice(0).map((handle) => handle.close()));
    await journal[how]();
  };
  return {
    totalBytes,
    origin,
    done: journal.done,
    place: (name) => {
      const { shard } = owners.get(name)!;
      const start = shard.positions.get(name)!;
      return { file: shard.name, start, end: start + progress.get(name)!.bytes };
    },
    write: async (name, bytes, at) => {
      const state = progress.get(name);
      const owner = owners.get(name);
      if (state === undefined || owner === undefined) throw new Error(`\`${name}\` was not announced to the writer`);
      const from = at ?? state.given;
      // Counted before the wait, so that pieces written at the same time do not meet.
      state.given += bytes.byteLength;
      if (Math.max(state.given, from + bytes.byteLength) > state.bytes)
        throw new Error(`\`${name}\` has ${state.bytes} bytes, was given ${state.given}`);
      // One at a time: the system takes turns on a file anyway, and threads that wait for theirs burn the processor.
      const written = owner.file.last.then(() =>
        writeAt(owner.file.handle, bytes, owner.shard.positions.get(name)! + from),
      );
      owner.file.last = written.catch(() => undefined);
      await attempt(final, () => written);
      state.written += bytes.byteLength;
    },
    finish: (name, note) => notes.add(name, note),
    addFile: (name, content) => attempt(final, () => writeFlushed(join(directory, plainName(name)), content)),
    copyTokenizer: (source) => attempt(final, () => copyTokenizer(source, directory)),
    commit: async () => {
      for (const [name, { written, bytes }] of progress) {
        if (written !== bytes) throw new Error(`\`${name}\` has ${bytes} bytes, ${written} of them are written`);
      }
      await attempt(final, async () => {
        await notes.end();
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

interface OpenFile {
  readonly handle: FileHandle;
  /** Ends with the write that was asked for last. */
  last: Promise<void>;
}

interface Notes {
  add(name: string, note: string): void;
  /** Ends when all is noted. Throws what went wrong on the way. */
  end(): Promise<void>;
}

/** Notes follow the data, while the writing goes on. */
function openNotes(journal: Journal, handles: readonly FileHandle[]): Notes {
  let since = performance.now();
  let all: Promise<void> = Promise.resolve();
  const then = (next: () => Promise<void>): void => {
    all = all.then(next);
    // Whoever ends it hears of it.
    all.catch(() => undefined);
  };
  const flushData = async (): Promise<void> => {
    await Promise.all(handles.map((handle) => handle.datasync()));
  };
  return {
    add(name, note) {
      then(() => journal.record(name, note));
      if (performance.now() - since < FLUSH_MILLISECONDS) return;
      since = performance.now();
      then(() => journal.flush(flushData));
    },
    end: () => all,
  };
}

/** The same without memory: gone with the process, whatever ends it. */
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
    flush: nothing,
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
  for (const name of names) await writeFlushed(join(directory, name), await readFile(join(source, name)));
  return names;
}

/** Of one system call: larger ones are several times slower on some systems, smaller ones on none. */
const CHUNK_BYTES = 2 << 20;

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const chunk = bytes.subarray(done, done + CHUNK_BYTES);
    const { bytesWritten } = await handle.write(chunk, 0, chunk.byteLength, position + done);
    done += bytesWritten;
  }
}

function plainName(name: string): string {
  if (name !== basename(name) || name === "" || name === "." || name === "..")
    throw new Error(`\`${name}\` is not a plain file name`);
  return name;
}
