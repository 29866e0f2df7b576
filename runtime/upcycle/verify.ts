/**
 * What a new model computes, beside the models it was made from: on real text, on the device, one model after the other, so that
 * no more than one is in its memory. Perplexity is the exponential of the mean next-token cross entropy, as `moec eval` has it.
 */
import { callback, checkOptions, flag, type Rules, signal } from "../../grammar/option.ts";
import type { AbortOptions } from "../abort.ts";
import type { Device } from "../gpu/device.ts";
import { NotFinite, withNote } from "../session/not-finite.ts";
import type { LoadedModel } from "../model/model.ts";
import { openModel } from "../open.ts";
import { negativeLogLikelihood } from "../session/score.ts";
import { explainNotFinite } from "../trace-finite.ts";

export interface Verified {
  readonly name: string;
  readonly perplexity: number;
  /** From the logits of the model that was made; null for that one itself. */
  readonly difference: { readonly largest: number; readonly mean: number } | null;
}

/** Bytes of logits that are kept to compare with. */
const KEPT_BYTES = 256 << 20;

export interface Verification {
  /** Of all sequences that were run. */
  readonly tokens: number;
  /** That of `made` first. */
  readonly models: readonly Verified[];
}

interface Named {
  readonly name: string;
  readonly loaded: LoadedModel;
}

export interface VerifyOptions extends AbortOptions {
  /** Hears which model is next. */
  readonly onModel?: (name: string) => void;
  /** Of a model whose results are NaN or infinite, say the layer where that begins. */
  readonly traceFinite?: boolean;
}

const VERIFY_RULES: Rules<VerifyOptions> = { onModel: callback, traceFinite: flag, signal };

/** Runs all models on as many of the sequences as there is room for their logits. Throws `session/not-finite`, with the model's name. */
export async function verifyModels(
  device: Device,
  made: Named,
  sources: readonly Named[],
  sequences: readonly Uint32Array[],
  options: VerifyOptions = {},
): Promise<Verification> {
  checkOptions("verifyModels", options, VERIFY_RULES);
  const { onModel = () => {} } = options;
  onModel(made.name);
  const kept = await computeLogits(device, made, sequences, options);
  const used = sequences.slice(0, kept.length);
  const models: Verified[] = [{ name: made.name, perplexity: perplexityOf(kept, used), difference: null }];
  for (const { name, loaded } of sources) {
    onModel(name);
    const logits = await computeLogits(device, { name, loaded }, used, options);
    models.push({ name, perplexity: perplexityOf(logits, used), difference: compareLogits(logits, kept) });
  }
  return { tokens: used.reduce((n, ids) => n + ids.length, 0), models };
}

async function computeLogits(
  device: Device,
  { name, loaded }: Named,
  sequences: readonly Uint32Array[],
  { signal: wanted, traceFinite = false }: VerifyOptions,
): Promise<readonly Float32Array[]> {
  const capacity = Math.max(...sequences.map((ids) => ids.length));
  const session = await openModel(loaded, { device, capacity, sequences: 1, signal: wanted });
  try {
    const most = Math.max(1, Math.floor(KEPT_BYTES / (4 * session.vocab * capacity)));
    const logits: Float32Array[] = [];
    for (const ids of sequences.slice(0, most)) logits.push(...(await session.forward([ids], [], { signal: wanted })));
    return logits;
  } catch (error) {
    if (!(error instanceof NotFinite)) throw error;
    // Both may not fit on the device.
    session.close();
    const told = traceFinite ? await explainNotFinite(error, loaded, { device }) : error;
    throw withNote(told, `the model is ${name}`);
  } finally {
    session.close();
  }
}

function perplexityOf(logits: readonly Float32Array[], sequences: readonly Uint32Array[]): number {
  let [sum, count] = [0, 0];
  for (const [i, ids] of sequences.entries()) {
    const vocabulary = logits[i]!.length / ids.length;
    for (let t = 0; t + 1 < ids.length; t++, count++)
      sum += negativeLogLikelihood(logits[i]!.subarray(t * vocabulary, (t + 1) * vocabulary), ids[t + 1]!);
  }
  return Math.exp(sum / count);
}

function compareLogits(a: readonly Float32Array[], b: readonly Float32Array[]): Verified["difference"] {
  let [largest, sum, count] = [0, 0, 0];
  for (const [i, ours] of a.entries()) {
    const theirs = b[i]!;
    for (let j = 0; j < ours.length; j++) {
      const difference = Math.abs(ours[j]! - theirs[j]!);
      largest = Math.max(largest, difference);
      sum += difference;
    }
    count += ours.length;
  }
  return { largest, mean: sum / count };
}
