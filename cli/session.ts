/** Options and steps that all commands share which run a checkpoint. The GPU's library is loaded here, when it is needed. */
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { horizonOf } from "../compiler/index.ts";
import type { Device } from "../runtime/gpu/device.ts";
import type { LoadedModel } from "../runtime/model/model.ts";
import type { Session } from "../runtime/session/session.ts";
import { failure } from "../grammar/index.ts";
import { NotFinite } from "../runtime/session/not-finite.ts";
import { openFolder } from "./load.ts";
import { humanBytes, showDiagnostics, startProgress } from "./output.ts";

export interface SessionFlags {
  readonly adapter?: string;
  readonly map?: string;
  readonly traceFinite?: true;
}

export function addSessionOptions(command: Command, argument = "<checkpoint>"): Command {
  return command
    .argument(argument, "folder with config.json and safetensors files")
    .option("--adapter <name>", "run on the adapter whose name contains this (`moec devices` lists them)")
    .option("--map <file>", "a .moe file with the map of the checkpoint's family");
}

/** For commands whose results are numbers of the model. */
export function addTraceOption(command: Command): Command {
  return command.option(
    "--trace-finite",
    "where results are NaN or infinite, run again and name the layer where that begins",
  );
}

export interface Needs {
  /** Tokens of the longest sequence. */
  readonly capacity: number;
  readonly sequences: number;
  /** A model that cannot generate is refused before its weights are read. */
  readonly purpose?: "generate";
  /** Metrics to compile beside the results. */
  readonly metrics?: readonly string[];
}

/** Opens a checkpoint, asks `plan` what is needed of it, runs `use` with that, and frees everything whatever happens. */
export async function withSession<N extends Needs, R>(
  folder: string,
  flags: SessionFlags,
  plan: (loaded: LoadedModel) => Promise<N> | N,
  use: (session: Session, needs: N) => Promise<R>,
): Promise<R> {
  const loaded = await openFolder(folder, flags.map);
  try {
    const needs = await plan(loaded);
    const { capacity, sequences, metrics, purpose } = needs;
    checkLength(loaded, capacity);
    const { openModel } = await import("../runtime/open.ts");
    const bar = startProgress("uploading", 100);
    const session = await openModel(loaded, {
      capacity,
      sequences,
      ...(metrics === undefined ? {} : { metrics }),
      ...(purpose === undefined ? {} : { purpose }),
      ...(flags.adapter === undefined ? {} : { adapter: flags.adapter }),
      onNote: (note) => showDiagnostics([note]),
      onProgress: (bytes, total) => bar.advance(Math.round((100 * bytes) / total), humanBytes(total)),
    }).finally(bar.end);
    try {
      return await use(session, needs);
    } catch (error) {
      if (!(error instanceof NotFinite) || flags.traceFinite === undefined) throw error;
      // The model is uploaded again, and both may not fit.
      session.close();
      const { explainNotFinite } = await import("../runtime/trace-finite.ts");
      throw await explainNotFinite(error, loaded, { adapter: flags.adapter });
    } finally {
      session.close();
    }
  } finally {
    await loaded.checkpoint.close();
  }
}

/**
 * For what runs a checkpoint without a session: opens it for sequences of so many tokens, or of a usual number where it was made for so many,
 * and frees it and the device whatever happens.
 */
export async function withDevice<R>(
  folder: string,
  flags: SessionFlags,
  length: number | { readonly usual: number },
  use: (loaded: LoadedModel, openDevice: () => Promise<Device>, length: number) => Promise<R>,
): Promise<R> {
  const loaded = await openFolder(folder, flags.map);
  let device: Device | undefined;
  try {
    if (typeof length === "number") checkLength(loaded, length);
    const own =
      typeof length === "number" ? length : Math.min(length.usual, horizonOf(loaded.model)?.tokens ?? Infinity);
    const open = async (): Promise<Device> => {
      const { openDevice } = await import("../runtime/dawn/open-device.ts");
      return (device = await openDevice(flags.adapter === undefined ? {} : { adapter: flags.adapter }));
    };
    return await use(loaded, open, own);
  } finally {
    device?.close();
    await loaded.checkpoint.close();
  }
}

/** What is read of a checkpoint, and so not written to. */
export function filesOf({ config, checkpoint }: LoadedModel): readonly string[] {
  const beside = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors.index.json"];
  const { path } = config.file;
  return [path, ...beside.map((name) => join(dirname(path), name)), ...checkpoint.files.map((file) => file.path)];
}

/** The positions that a model has, or was made for. */
function checkLength({ model, config }: LoadedModel, length: number): void {
  const horizon = horizonOf(model);
  if (horizon === null || length <= horizon.tokens) return;
  const { tokens, isHard } = horizon;
  throw failure("cli/too-long", `${length} tokens are more than the ${tokens} that this model was made for`, {
    notes: [isHard ? `it has a table of ${tokens} positions` : `by ${config.file.path}`],
    help: "use shorter inputs, or ask for fewer tokens",
  });
}

/** Makes the pipelines of all entries, so that they are not part of what is timed. */
export function prepareAll(session: Session): Promise<void> {
  return session.executor.prepare(session.executor.plan.entries.map((entry) => entry.name));
}
