/**
 * What the model writes while it is trained: how it goes on from the same texts, with the same draws, each time it is measured. A session of
 * its own runs it, with the parameters as they are at that moment, and is gone afterwards.
 */
import { compileModel } from "../../compiler/index.ts";
import { list, needed, number, type Rules, text, whole } from "../../grammar/option.ts";
import type { Device } from "../gpu/device.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import { loadTokenizer } from "../load/load-tokenizer.ts";
import type { LoadedModel } from "../model/model.ts";
import { openOn } from "../session/open-model.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { memoryOf } from "./memory.ts";
import type { SampleRecord } from "./record.ts";
import type { Trainer } from "./trainer.ts";

export interface SampleOptions {
  /** Beginnings of texts. */
  readonly prompts: readonly string[];
  /** The most tokens behind each; default 48. */
  readonly tokens?: number;
  /** Default 0.7. */
  readonly temperature?: number;
}

export const SAMPLE_RULES: Rules<SampleOptions> = {
  prompts: needed(list(text, "a list of texts")),
  tokens: whole(1),
  temperature: number(0),
};

/** Ready to be written, and known to be possible. */
export interface Sampling {
  readonly prompts: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly tokens: number;
  readonly temperature: number;
  readonly tokenizer: Tokenizer;
  /** Ids of the longest prompt with what is written behind it. */
  readonly capacity: number;
  /** On the device, for as long as samples are written. */
  readonly bytes: number;
}

/** Throws where the model cannot generate, and what `loadTokenizer` throws. */
export async function openSampling(
  { prompts, tokens = 48, temperature = 0.7 }: SampleOptions,
  { model }: LoadedModel,
  folder: string,
  device: Device,
): Promise<Sampling> {
  const tokenizer = await loadTokenizer(folder);
  const encoded = prompts.map((text) => ({ text, ids: tokenizer.encodeText(text) }));
  const capacity = Math.max(...encoded.map(({ ids }) => ids.length)) + tokens;
  const plan = compileModel(model, { device: device.facts, storage: () => "f32" });
  const sizes = { T: Math.max(1, capacity), Q: encoded.length, S: encoded.length, P: capacity };
  return { prompts: encoded, tokens, temperature, tokenizer, capacity, bytes: memoryOf(plan, sizes).total };
}

/** How the model goes on as it is after a step. */
export async function writeSamples(
  trainer: Trainer,
  { prompts, tokens, temperature, tokenizer, capacity }: Sampling,
  { model }: LoadedModel,
  device: Device,
  step: number,
): Promise<SampleRecord> {
  const source = parametersOf(trainer);
  const session = await openOn(device, { model, source }, { capacity, sequences: prompts.length, purpose: "generate" });
  try {
    const decoders = prompts.map(() => tokenizer.stream());
    const texts = prompts.map(() => "");
    const written = session.generate({
      prompts: prompts.map(({ ids }) => ids),
      ...{ maxTokens: tokens, temperature, seed: SEED, stop: tokenizer.eosIds },
    });
    for await (const { slot, token } of written) texts[slot] += decoders[slot]!.push(token);
    return {
      kind: "sample",
      step,
      texts: prompts.map(({ text }, i) => ({ prompt: text, text: `${texts[i]!}${decoders[i]!.end()}` })),
    };
  } finally {
    session.close();
  }
}

/** The same each time, so that two samples differ by what the model has learned. */
const SEED = 1;

/** A trainer's parameters, as they are when they are read; runs of one parameter come one after the other. */
function parametersOf(trainer: Trainer): ParameterSource {
  let last: { readonly path: string; readonly values: Promise<Float32Array> } | null = null;
  return {
    storage: () => "f32",
    async read(path, start, length) {
      if (last?.path !== path) last = { path, values: trainer.readParameter(path) };
      const values = (await last.values).slice(start, start + length);
      return new Uint8Array(values.buffer);
    },
  };
}
