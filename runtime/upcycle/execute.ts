/**
 * Writes a planned checkpoint as a stream. Lanes take one unit after the other: while one reads, another computes and a third
 * writes, each in memory of its own that it uses again. Nothing appears under the final name unless all of it is there, and
 * a run that was killed is continued by the next.
 */
import { resolve } from "node:path";
import { MoeError } from "../../grammar/diagnostic.ts";
import {
  callback,
  checkOption,
  checkOptions,
  flag,
  needed,
  object,
  type Rules,
  signal as signalRule,
  text,
  whole,
} from "../../grammar/option.ts";
import { checkAborted } from "../abort.ts";
import { attempt } from "../save/attempt.ts";
import { addCompanions } from "../save/companions.ts";
import { CHECKPOINT, PROVENANCE_NAME } from "../save/own-files.ts";
import { type CheckpointWriter, createCheckpoint, type WriterOptions } from "../save/write.ts";
import { checkApart, checkTarget } from "../files/target.ts";
import { ELEMENTS } from "../checkpoint/element-type.ts";
import { evaluateUnit, type Inputs } from "./evaluate.ts";
import { Lane } from "./lane.ts";
import { explainNotFinite } from "./not-finite.ts";
import { formatProvenance } from "./provenance.ts";
import { computeGiven, hashRows, hashTexts, type RunOptions } from "./runs.ts";
import { LANES, type Transfer, type TransferTensor, type Unit } from "./transfer.ts";

export interface ExecuteOptions extends Pick<WriterOptions, "maxShardBytes" | "overwrite">, RunOptions {
  /** Hears the bytes written so far, those of an earlier run among them. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Hears of an unfinished run: that it left `bytes` to go on from, or that it was for other sources, rules or options. */
  readonly onEarlierRun?: (bytes: number, isSame: boolean) => void;
}

const EXECUTE_RULES: Rules<ExecuteOptions> = {
  maxShardBytes: whole(1, Number.MAX_SAFE_INTEGER),
  overwrite: flag,
  onProgress: callback,
  onEarlierRun: callback,
  adapter: text,
  onRun: callback,
  traceFinite: flag,
  signal: signalRule,
};

/**
 * Makes the folder `target`, a checkpoint as Hugging Face lays it out with `moec.provenance.json`. Throws what running and reading the
 * sources and `createCheckpoint` throw, `checkpoint/changed`, `checkpoint/not-finite` for values that are no numbers,
 * `checkpoint/overflow` for those that the type to write has no room for, and the signal's reason. What
 * was written until then is gone, except when it was the disk that failed: then the same call goes on where it stopped.
 */
export async function executeTransfer(transfer: Transfer, target: string, options: ExecuteOptions = {}): Promise<void> {
  const { onProgress = () => {}, onEarlierRun = () => {}, adapter, onRun, signal, traceFinite, ...writing } = options;
  checkOption(
    "executeTransfer",
    "transfer",
    transfer,
    needed(object("what `planUpcycle` or `planExport` gave", "tensors")),
  );
  checkOption("executeTransfer", "target", target, needed(text));
  checkOptions("executeTransfer", options, EXECUTE_RULES);
  checkAborted("executeTransfer", signal);
  const specs = transfer.tensors.map((t) => ({ name: t.name, dtype: ELEMENTS[t.dtype].dtype, shape: t.shape }));
  // What cannot be written is told before sources run.
  const final = resolve(target);
  await attempt(final, () => {
    checkApart(final, sourcesOf(transfer));
    checkTarget(final, CHECKPOINT, options.overwrite ?? false);
  });
  const given = await computeGiven(transfer.runs, {
    ...{ adapter, signal, traceFinite },
    ...(onRun === undefined ? {} : { onRun }),
  });
  // Another device may round otherwise: its rows do not go on where those of an earlier run stopped.
  const rows = [...given.values()].map(hashRows);
  const fingerprint = [transfer.fingerprint, options.maxShardBytes ?? "", hashTexts(rows)].join(" ");
  const writer = await createCheckpoint(target, specs, { ...writing, metadata: transfer.metadata, fingerprint });
  try {
    const left = transfer.tensors.filter((t) => !writer.done.has(t.name));
    const before = transfer.bytesWritten - left.reduce((n, t) => n + t.bytes, 0);
    if (writer.origin !== "new") onEarlierRun(before, writer.origin === "resumed");
    const inputs = { sources: transfer.sources, given };
    await writeTensors(left, transfer, inputs, writer, (done) => {
      // Here lanes end in good order, and what was written until then goes with them.
      checkAborted("executeTransfer", signal);
      onProgress(before + done, writer.totalBytes);
    });
    checkAborted("executeTransfer", signal);
    await Promise.all(transfer.checkpoints.map((checkpoint) => checkpoint.checkUnchanged()));
    const written = new Map([...writer.done].map(([name, sha256]) => [name, { ...writer.place(name), sha256 }]));
    await writer.addFile(PROVENANCE_NAME, formatProvenance(transfer, given, written));
    await addCompanions(writer, transfer.config, transfer.folder);
    await writer.commit();
  } catch (error) {
    await (isDisk(error) ? writer.leave() : writer.abort()).catch(() => undefined);
    throw error;
  }
}

/** Folders and files that are read. */
const sourcesOf = ({ checkpoints, folder }: Transfer): readonly string[] => [
  ...(folder === null ? [] : [folder]),
  ...checkpoints.flatMap(({ path, files }) => [path, ...files.map((file) => file.path)]),
];

function isDisk(error: unknown): boolean {
  const codes: readonly string[] = ["checkpoint/disk-full", "checkpoint/write-failed"];
  return error instanceof MoeError && error.diagnostics.some((d) => codes.includes(d.code));
}

async function writeTensors(
  tensors: readonly TransferTensor[],
  transfer: Transfer,
  inputs: Inputs,
  writer: CheckpointWriter,
  onProgress: (done: number) => void,
): Promise<void> {
  const work = listWork(tensors);
  const largest = tensors.reduce((most, t) => t.units.reduce((m, u) => Math.max(m, u.memory), most), 0);
  let [done, failed] = [0, false];
  const make = async ({ current, unit, before, release }: Work, lane: Lane): Promise<void> => {
    const { tensor } = current;
    const mark = lane.mark;
    try {
      const bytes = await evaluateUnit(unit, inputs, tensor.dtype, lane);
      if (!lane.isFinite(tensor.dtype, bytes)) throw await explainNotFinite(tensor, unit, bytes, inputs, transfer);
      await before;
      const written = writer.write(tensor.name, bytes);
      release();
      await written;
      done += bytes.byteLength;
      onProgress(done);
      if (--current.left === 0) await writer.finish(tensor.name);
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      lane.release(mark);
      // Whoever waits for this unit's turn must not wait for ever.
      release();
    }
  };
  const runLane = async (): Promise<void> => {
    const lane = new Lane(largest);
    for (let next = work.next(); next.done !== true && !failed; next = work.next()) await make(next.value, lane);
  };
  // All lanes end before files are closed: a read must not be under way then.
  const ends = await Promise.allSettled(Array.from({ length: LANES }, runLane));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  for (const { name, units } of tensors) if (units.length === 0) await writer.finish(name);
}

/** A tensor on its way. */
interface Current {
  readonly tensor: TransferTensor;
  /** Units that are not written yet. */
  left: number;
}

interface Work {
  readonly current: Current;
  readonly unit: Unit;
  /** Ends when the units before it are with the writer, which takes them in their order, in whatever order they are made. */
  readonly before: Promise<void>;
  /** Says so to the next. */
  readonly release: () => void;
}

function* listWork(tensors: readonly TransferTensor[]): Generator<Work, undefined> {
  for (const tensor of tensors) {
    const current: Current = { tensor, left: tensor.units.length };
    let before = Promise.resolve();
    for (const unit of tensor.units) {
      const { promise, resolve: release } = Promise.withResolvers<void>();
      yield { current, unit, before, release };
      before = promise;
    }
  }
}
