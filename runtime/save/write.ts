/**
 * Writes a checkpoint as a stream: what the tensors are is known first, their bytes come in pieces and are never held here. All of it goes to a hidden folder that one rename makes visible, so a final name never shows half
 * a checkpoint. What is renamed has been flushed to the disk before. With a fingerprint, the hidden folder survives a kill.
 */
import { basename, join, resolve } from "node:path";
import { tryTo } from "../files/create.ts";
import { checkSpace, flushFolder, makeFolders } from "../files/disk.ts";
import { type FileRecord, formatManifest, MANIFEST_NAME, recordBytes, recordParts } from "../files/manifest.ts";
import { readBytes, recode } from "../files/read.ts";
import { writeOver } from "../files/staging.ts";
import * as system from "../files/system.ts";
import { attempt } from "./attempt.ts";
import { diskFolder } from "../load/disk-folder.ts";
import { listTemplates, TEMPLATE_FOLDER } from "../tokenizer/chat-template.ts";
import { openFlusher } from "./flusher.ts";
import { openJournal, type Origin } from "./journal.ts";
import { CHECKPOINT, TOKENIZER_FILES } from "./own-files.ts";
import { byteSize, type TensorSpec } from "../checkpoint/safetensors-header.ts";
import { INDEX_NAME } from "../checkpoint/shard-index.ts";
import { formatIndex, layOutFile, layOutShards, type Shard } from "./shard-layout.ts";
import { openSink } from "./sink.ts";

export interface WriterOptions {
  /** Data bytes after which a new file begins; 5 GB unless given, as Hugging Face has it. */
  readonly maxShardBytes?: number;
  /** Strings for the header of every file, beside `format: pt`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Replace a checkpoint that is already there; nothing but a checkpoint is ever replaced. */
  readonly overwrite?: boolean;
  /** Further files of tensors, that are not the model's. Theirs are written as `tensorOf(file, name)`. */
  readonly beside?: Readonly<Record<string, readonly TensorSpec[]>>;
  /** Says what the bytes follow from. With it, a run that was killed is continued by the next with the same. */
  readonly fingerprint?: string;
}

export interface CheckpointWriter {
  /** Data bytes of all tensors, those of files beside the weights among them. */
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
  const { maxShardBytes = 5e9, metadata = {}, overwrite = false, beside = {} } = options;
  const final = resolve(target);
  const others = Object.entries(beside);
  const specs = [
    ...tensors,
    ...others.flatMap(([file, inside]) => inside.map((spec) => ({ ...spec, name: tensorOf(file, spec.name) }))),
  ];
  const progress = new Map(specs.map((tensor) => [tensor.name, { given: 0, written: 0, bytes: byteSize(tensor) }]));
  if (progress.size !== specs.length) throw new Error("two tensors of one checkpoint have the same name");
  const model = layOutShards(tensors, maxShardBytes, { format: "pt", ...metadata });
  const shards = [
    ...model,
    ...others.map(([file, inside]) => layOutFile(plainName(file), inside, { format: "pt" }, tensorOf(file, ""))),
  ];
  const journal = await attempt(final, () => openJournal(final, CHECKPOINT, overwrite, options.fingerprint ?? null));
  const { directory, origin } = journal;
  const done = new Map(journal.done);
  const owners = new Map<string, { readonly handle: system.OpenFile; readonly shard: Shard }>();
  const handles: system.OpenFile[] = [];
  const records = new Map<string, FileRecord>();
  const addFile = (name: string, content: string | Uint8Array): void => {
    writeOver(join(directory, name), content);
    records.set(name, recordBytes(content));
  };
  const closeAll = (): void => handles.splice(0).forEach((handle) => handle.close());
  const sizeOf = (all: readonly TensorSpec[]): number => all.reduce((sum, tensor) => sum + byteSize(tensor), 0);
  const totalBytes = sizeOf(specs);
  try {
    await attempt(final, () => {
      const needed = shards.reduce((sum, shard) => sum + shard.bytes, 0);
      checkSpace(final, needed - allocatedBytes(directory));
      const { O_CREAT, O_EXCL, O_RDWR } = system;
      for (const shard of shards) {
        const handle = system.openFile(
          join(directory, shard.name),
          origin === "resumed" ? O_RDWR : O_RDWR | O_CREAT | O_EXCL,
        );
        handles.push(handle);
        handle.write(shard.header, 0);
        for (const name of shard.positions.keys()) owners.set(name, { handle, shard });
      }
      if (model.length > 1) addFile(INDEX_NAME, formatIndex(model, sizeOf(tensors)));
      flushFolder(directory);
      journal.begin();
    });
  } catch (cause) {
    tryTo(closeAll);
    tryTo(journal.discard);
    throw cause;
  }
  for (const name of done.keys()) progress.get(name)!.written = progress.get(name)!.bytes;

  const sink = openSink(totalBytes - [...done.keys()].reduce((sum, name) => sum + progress.get(name)!.bytes, 0));
  const flusher = openFlusher(journal, handles);
  const end = async (how: "leave" | "discard"): Promise<void> => {
    await flusher.end().catch(() => undefined);
    await sink.close();
    tryTo(closeAll);
    await attempt(final, journal[how]);
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
    addFile: (name, content) => attempt(final, () => addFile(plainName(name), content)),
    copyTokenizer: (source) => attempt(final, () => copyTokenizer(source, directory, addFile)),
    commit: async () => {
      for (const [name, { written, bytes }] of progress) {
        if (written !== bytes) throw new Error(`\`${name}\` has ${bytes} bytes, ${written} of them are written`);
      }
      await attempt(final, async () => {
        for (const name of progress.keys()) if (!done.has(name)) done.set(name, await sink.end(name));
        await flusher.end();
        await sink.close();
        await Promise.all(handles.map((handle) => handle.flush()));
        closeAll();
        for (const shard of shards) records.set(shard.name, recordShard(shard, progress, done));
        const files = Object.fromEntries(records);
        writeOver(join(directory, MANIFEST_NAME), formatManifest({ kind: CHECKPOINT.kind, files }));
        flushFolder(directory);
        journal.publish();
      });
    },
    abort: () => end("discard"),
    leave: () => end("leave"),
  };
}

/** How a tensor of a file beside the weights is called among all. */
export const tensorOf = (file: string, name: string): string => `${file}/${name}`;

/** Its header, then its tensors as they lie. */
function recordShard(
  { header, positions }: Shard,
  sizes: ReadonlyMap<string, { readonly bytes: number }>,
  hashes: ReadonlyMap<string, string>,
): FileRecord {
  const tensors = [...positions].map(([name, start]) => ({
    end: start + sizes.get(name)!.bytes,
    sha256: hashes.get(name)!,
  }));
  return recordParts([{ end: header.byteLength, sha256: recordBytes(header).sha256! }, ...tensors]);
}

/** What an earlier run has taken of the disk already. */
function allocatedBytes(directory: string): number {
  return system
    .readNames(directory)
    .map((name) => system.lstat(join(directory, name)))
    .reduce((sum, { blocks }) => sum + 512 * Number(blocks), 0);
}

async function copyTokenizer(
  source: string,
  directory: string,
  addFile: (name: string, content: Uint8Array) => void,
): Promise<readonly string[]> {
  const names = system
    .readNames(source)
    .filter((name) => TOKENIZER_FILES.test(name))
    .sort();
  const templates = await listTemplates(diskFolder(source));
  if (templates.length > 0) makeFolders(join(directory, TEMPLATE_FOLDER));
  const all = [...names, ...templates.map((name) => `${TEMPLATE_FOLDER}/${name}`)];
  for (const name of all)
    addFile(
      name,
      recode("checkpoint/unreadable", () => readBytes(join(source, name))),
    );
  if (templates.length > 0) flushFolder(join(directory, TEMPLATE_FOLDER));
  return all;
}

function plainName(name: string): string {
  if (name !== basename(name) || ["", ".", "..", MANIFEST_NAME].includes(name))
    throw new Error(`\`${name}\` is not a plain file name`);
  return name;
}
