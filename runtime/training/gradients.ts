/**
 * The loss of some sequences as training has it, and its gradient by every parameter, for whoever wants to look at them or to hold them
 * against another program's. Limits: all gradients are on the device at once and are read back together, and sequences are of one length.
 */
import { compileGradients, type GradientPlan, GRADIENT, positionsOf } from "../../compiler/index.ts";
import { evaluateSize } from "../../compiler/plan/plan.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import {
  callback,
  checkOption,
  checkOptions,
  needed,
  object,
  type Rules,
  sequences as sequencesRule,
  signal as signalRule,
} from "../../grammar/option.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import { Buffers } from "../gpu/buffers.ts";
import type { Device } from "../gpu/device.ts";
import { Executor } from "../gpu/execute.ts";
import { findNotFinite } from "../gpu/finite.ts";
import { type ParameterSource, uploadParameters } from "../gpu/parameters.ts";
import { StagingPool } from "../gpu/readback.ts";
import type { RunnableModel } from "../session/open-model.ts";

export interface Gradients {
  readonly loss: number;
  /** Each loss that a layer states, by its name, as it is in `loss`. */
  readonly terms: ReadonlyMap<string, number>;
  /** By the path of the parameter, row-major over its axes. What the loss does not depend on is not there. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

export interface GradientOptions extends AbortOptions {
  /** Hears the bytes uploaded so far. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Hears of weights so large that sums with them may pass what float32 holds. */
  readonly onNote?: (note: Diagnostic) => void;
}

const GRADIENT_RULES: Rules<GradientOptions> = { onProgress: callback, onNote: callback, signal: signalRule };

/**
 * `sequences` are one micro-batch: lists of token ids of one length, each token but the last of a sequence predicting the next. Throws
 * `train/bad-batch`, `train/no-loss`, `session/token-range`, `train/not-finite`, and what uploading and allocating throw.
 */
export async function gradientsOf(
  device: Device,
  { model, source }: RunnableModel,
  sequences: readonly ArrayLike<number>[],
  options: GradientOptions = {},
): Promise<Gradients> {
  checkOption("gradientsOf", "device", device, needed(object("a device, of `openDevice`", "gpu", "facts")));
  checkOption("gradientsOf", "model", model, needed(object("a model, such as `model` of `loadModel`", "parameters")));
  checkOption("gradientsOf", "source", source, needed(object("where parameters come from", "storage", "read")));
  checkOption("gradientsOf", "sequences", sequences, needed(sequencesRule));
  checkOptions("gradientsOf", options, GRADIENT_RULES);
  checkAborted("gradientsOf", options.signal);
  checkLengths(sequences, positionsOf(model));
  const compiled = compileGradients(model, {
    device: device.facts,
    storage: source.storage,
    sequences: sequences.length,
  });
  checkIds(sequences, compiled.vocabulary);
  const results = await run(device, compiled, source, sequences, options);
  const numbersOf = (name: string, what: string): Float32Array => {
    const values = results.get(name)!;
    checkFinite(model.name, what, values);
    return values;
  };
  const [loss] = numbersOf("loss", "the loss");
  const terms = compiled.terms.map((name) => [name, numbersOf(name, `the loss \`${name}\``)[0]!] as const);
  const gradients = compiled.parameters.map(
    (path) => [path, numbersOf(`${GRADIENT}${path}`, `the gradient of \`${path}\``)] as const,
  );
  return { loss: loss!, terms: new Map(terms), gradients: new Map(gradients) };
}

/** Uploads, runs the plan's one entry, frees everything; its outputs by name. */
async function run(
  device: Device,
  { plan, accumulators }: GradientPlan,
  source: ParameterSource,
  sequences: readonly ArrayLike<number>[],
  options: GradientOptions,
): Promise<ReadonlyMap<string, Float32Array>> {
  const initial = new Map(accumulators.map((a) => [a.path, a.initial]));
  const parameters = await uploadParameters(device, plan, withInitial(source, initial), options);
  const T = sequences[0]!.length;
  const sizes = { T, Q: T, S: 1, P: T };
  const buffers = await Buffers.allocate(device, plan, parameters, sizes);
  const staging = new StagingPool(device);
  try {
    checkAborted("gradientsOf", options.signal);
    const [entry] = plan.entries;
    const declared = new Map(plan.buffers.map((b) => [b.id, b]));
    const inputs = inputsOf(sequences);
    for (const id of entry!.inputs) {
      const values = inputs[declared.get(id)!.name];
      if (values === undefined) throw new Error(`the gradients of ${plan.model} read \`${declared.get(id)!.name}\``);
      buffers.writeInput(id, values);
    }
    const reads = entry!.outputs.map((id) => {
      const bytes = evaluateSize(declared.get(id)!.elements, sizes) * 4;
      return [declared.get(id)!.name, staging.read(buffers.find({ kind: "buffer", id }).buffer, bytes)] as const;
    });
    const all = reads.map(([, read]) => read);
    await new Executor(device, plan, buffers).run(entry!.name, sizes, all);
    const results = new Map<string, Float32Array>();
    for (const [name, read] of reads) results.set(name, new Float32Array(await read.take()));
    return results;
  } finally {
    staging.destroy();
    buffers.destroy();
  }
}

/** What is kept from one micro-batch to the next is at its beginning: there is one. */
function withInitial(source: ParameterSource, initial: ReadonlyMap<string, number>): ParameterSource {
  return {
    storage: (path) => (initial.has(path) ? "f32" : source.storage(path)),
    read: async (path, start, length, into) => {
      const value = initial.get(path);
      if (value === undefined) return source.read(path, start, length, into);
      return new Uint8Array(new Float32Array(length).fill(value).buffer);
    },
    ...(source.exact === undefined ? {} : { exact: source.exact }),
  };
}

/** By name, as words: the sequences one after the other, and what a step says of tokens, the same for each sequence. */
function inputsOf(sequences: readonly ArrayLike<number>[]): Readonly<Record<string, Uint32Array<ArrayBuffer>>> {
  const T = sequences[0]!.length;
  const each = (value: (t: number) => number): Uint32Array<ArrayBuffer> =>
    Uint32Array.from({ length: T }, (_, t) => value(t));
  const all = (value: (ids: ArrayLike<number>, t: number) => number): number[] =>
    sequences.flatMap((ids) => Array.from({ length: T }, (_, t) => value(ids, t)));
  return {
    ids: Uint32Array.from(all((ids, t) => ids[t]!)),
    target: Uint32Array.from(all((ids, t) => (t === T - 1 ? 0 : ids[t + 1]!))),
    counted: new Uint32Array(Float32Array.from(all((_, t) => (t === T - 1 ? 0 : 1))).buffer),
    position: each((t) => t),
    wanted: each((t) => t),
    slot: each(() => 0),
    length: each(() => T),
    runs: Uint32Array.of(0, T),
  };
}

function checkLengths(sequences: readonly ArrayLike<number>[], positions: number | null): void {
  const refuse = (message: string, help: string): Error => failure("train/bad-batch", message, { help });
  const [first] = sequences;
  if (first === undefined) throw refuse("there is no sequence", "give one at least");
  if (first.length < 2) throw refuse("a sequence of fewer than two tokens predicts nothing", "give longer sequences");
  const other = sequences.findIndex((ids) => ids.length !== first.length);
  if (other >= 0)
    throw refuse(
      `sequence ${other} has ${sequences[other]!.length} tokens, and sequence 0 has ${first.length}`,
      "give sequences of one length: cut the longer ones",
    );
  if (positions !== null && first.length > positions)
    throw refuse(
      `the sequences have ${first.length} tokens, and the model has a table of ${positions} positions`,
      `give sequences of at most ${positions} tokens`,
    );
}

function checkIds(sequences: readonly ArrayLike<number>[], vocabulary: number): void {
  for (const [i, ids] of sequences.entries()) {
    const at = Array.from(ids).findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (at >= 0)
      throw failure(
        "session/token-range",
        `id ${at} of sequence ${i} is ${ids[at]}, and the vocabulary has ${vocabulary}`,
        {
          help: "give ids of this model's tokenizer",
        },
      );
  }
}

function checkFinite(model: string, what: string, values: Float32Array): void {
  if (findNotFinite("f32", new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) === null) return;
  throw failure("train/not-finite", `${what} of ${model} is NaN or infinite`, {
    notes: ["some value on the way is too large for float32, or has no meaning"],
    help: "look at the weights: `moec run --logits --trace-finite` names the layer where results begin to be so",
  });
}
