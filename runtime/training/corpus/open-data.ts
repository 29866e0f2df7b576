/**
 * The data of a training run: sources tokenised, split and mixed.
 *
 * ```ts
 * const data = await openData({
 *   sources: [{ name: "code", kind: "text", paths: ["src/**\/*.py"], weight: null, field: "text", fim: null }],
 *   tokenizer: "path/of/the/checkpoint", vocabulary: 2048, cache: "run/tokens",
 *   context: 256, sequences: 8, micros: 2, seed: 1,
 * });
 * for (let step = 1; step <= steps; step++)
 *   for (let micro = 0; micro < 2; micro++) train(data.next(step, micro));
 * data.close();
 * ```
 *
 * Texts are tokenised once, into `cache`; memory holds where documents begin, never the ids.
 */
import { failure, MoeError } from "../../../grammar/diagnostic.ts";
import {
  callback,
  checkOptions,
  list,
  members,
  needed,
  number,
  oneOf,
  orNull,
  type Rule,
  type Rules,
  signal,
  text,
  whole,
} from "../../../grammar/option.ts";
import { type Batches, type BatchSource, openBatches } from "../data/batches.ts";
import { DEFAULT_HELD_OUT, type HeldOut, type Split, splitStore } from "../data/held-out.ts";
import type { PackMode } from "../data/pack.ts";
import { documentAt, type TokenStore } from "../data/stretch.ts";
import type { Fim } from "./fim.ts";
import { type NamedTokenizer, openTokenizer } from "./marks.ts";
import { type OpenedSource, openSource, type Rewritten, type SourceContext } from "./open-source.ts";
import type { DataSource } from "./source.ts";
import type { WorkOptions } from "./work.ts";

export interface DataOptions extends WorkOptions {
  readonly sources: readonly DataSource[];
  /** The folder that has the tokenizer, if it has one; null where there is none. Ids need none, though without it nothing parts their documents. */
  readonly tokenizer: string | null;
  /** How many ids the model knows. */
  readonly vocabulary: number;
  /** A folder for tokenised texts, beside the run; made where it lacks. */
  readonly cache: string;
  /** Ids of a sequence. */
  readonly context: number;
  /** Sequences of a micro-batch. */
  readonly sequences: number;
  /** Micro-batches of a step. */
  readonly micros: number;
  readonly seed: number;
  /** Default `joined`: see `pack.ts` for what a model then sees. */
  readonly pack?: PackMode | undefined;
  /** Of every source, from its end. Default a twentieth, 262,144 ids at most. */
  readonly heldOut?: HeldOut | undefined;
}

/** What a source came to. */
export interface SourceFacts {
  readonly name: string;
  /** Its share of all sequences, 0 to 1. */
  readonly share: number;
  readonly files: number;
  readonly documents: number;
  /** Ids to train on, and ids held out. */
  readonly tokens: number;
  readonly heldOut: number;
  /** Sequences of a pass over it, and the share of their places that is padding, 0 to 1. */
  readonly sequences: number;
  readonly padding: number;
}

export interface TrainingData extends Batches {
  readonly sources: readonly SourceFacts[];
  close(): void;
}

const MOST_COUNT = Number.MAX_SAFE_INTEGER;

const share = number(0, 1);

const fim: Rule = members<Fim>("{ rate, spm, tokens }", {
  rate: needed(share),
  spm: needed(share),
  tokens: needed(
    orNull({ allowed: "three texts", accepts: (v) => list(text, "").accepts(v) && (v as unknown[]).length === 3 }),
  ),
});

const source: Rule = members<DataSource>("a source", {
  name: needed(text),
  kind: needed(oneOf("text", "jsonl", "tokens")),
  paths: needed(list(text, "a list of paths")),
  weight: needed(orNull(number(-Infinity))),
  field: needed(text),
  fim: needed(orNull(fim)),
});

const RULES: Rules<DataOptions> = {
  sources: needed(list(source, "a list of sources")),
  tokenizer: needed(orNull(text)),
  vocabulary: needed(whole(1)),
  cache: needed(text),
  context: needed(whole(1)),
  sequences: needed(whole(1)),
  micros: needed(whole(1)),
  seed: needed(whole(0, MOST_COUNT)),
  pack: oneOf("joined", "documents"),
  heldOut: {
    allowed: "{ tokens } or { share, most }",
    accepts: (v) =>
      typeof v === "object" &&
      v !== null &&
      ("tokens" in v
        ? whole(0, MOST_COUNT).accepts(v.tokens)
        : "share" in v && "most" in v && number(0, 1).accepts(v.share) && whole(0, MOST_COUNT).accepts(v.most)),
  },
  onProgress: callback,
  signal,
};

/** Throws `train/no-data`, `train/bad-source`, `train/empty-data`, and what `openSource` and `loadTokenizer` throw. */
export async function openData(options: DataOptions): Promise<TrainingData> {
  checkOptions("openData", options, RULES);
  const { sources, context, sequences, micros, seed, pack = "joined", heldOut = DEFAULT_HELD_OUT } = options;
  checkSources(sources);
  const tokenizer = options.tokenizer === null ? null : await openTokenizerIfAny(options.tokenizer);
  const stores: TokenStore[] = [];
  const close = (): void => stores.forEach((store) => store.close());
  try {
    const prepared: Prepared[] = [];
    for (const source of sources)
      prepared.push(await prepareSource(source, heldOut, { ...options, tokenizer }, (store) => stores.push(store)));
    const weights = weigh(prepared);
    const own = prepared.map((p, i): BatchSource => ({ ...p, name: p.source.name, weight: weights[i]! }));
    const batches = openBatches({ sources: own, context, sequences, micros, seed, pack });
    const total = weights.reduce((a, b) => a + b, 0);
    const facts = own.map(({ name, weight, train, heldOut: kept }, i): SourceFacts => {
      const pass = batches.passes[i]!;
      const { files, documents } = prepared[i]!;
      return {
        name,
        share: weight / total,
        files,
        documents,
        tokens: train.end - train.begin,
        heldOut: kept.end - kept.begin,
        sequences: pass.sequences,
        padding: pass.padding / (pass.sequences * context),
      };
    });
    return { ...batches, sources: facts, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Null where the folder has none. */
async function openTokenizerIfAny(folder: string): Promise<NamedTokenizer | null> {
  return openTokenizer(folder).catch((error: unknown) => {
    const hasNone = error instanceof MoeError && error.diagnostics.every((d) => d.code === "checkpoint/no-tokenizer");
    if (hasNone) return null;
    throw error;
  });
}

interface Prepared extends Split {
  readonly source: DataSource;
  readonly hash: string;
  readonly files: number;
  readonly documents: number;
}

/** One source, tokenised and split. `keep` hears of every store that is opened. */
async function prepareSource(
  source: DataSource,
  heldOut: HeldOut,
  context: SourceContext,
  keep: (store: TokenStore) => void,
): Promise<Prepared> {
  const opened = await openSource(source, context);
  keep(opened.store);
  const split = splitStore(opened.store, heldOut, source.fim !== null);
  const facts = { source, files: opened.files.length, documents: opened.store.starts.length };
  if (source.fim === null) return { ...facts, ...split, hash: opened.hash };
  const { store, hash } = await rewriteTrained(source.name, source.fim, opened, split);
  keep(store);
  return { ...facts, hash, train: { store, begin: 0, end: store.tokens }, heldOut: split.heldOut };
}

/** The documents that are trained on, as `fim` has them. */
async function rewriteTrained(
  name: string,
  fim: Fim,
  { store, rewrite }: OpenedSource,
  { train }: Split,
): Promise<Rewritten> {
  if (rewrite === null)
    throw failure("train/bad-source", `\`${name}\` is ids, and only texts can have their middle last`, {
      help: "give the texts themselves, or train on it without --fim",
    });
  if (train.end === 0 && store.starts.length === 1)
    throw failure("train/bad-source", `\`${name}\` is one document, and all of it is held out`, {
      notes: ["documents are held out whole where their middle is put last"],
      help: "separate its documents by U+001E, or hold out nothing with --held-out 0",
    });
  return rewrite(fim, train.end === 0 ? 0 : documentAt(store, train.end - 1) + 1);
}

/** Without any weights every token counts alike; beside others, a source without one has 1. */
function weigh(prepared: readonly Prepared[]): readonly number[] {
  const isWeighted = prepared.some(({ source }) => source.weight !== null);
  return prepared.map(({ source, train }) => source.weight ?? (isWeighted ? 1 : train.end - train.begin));
}

function checkSources(sources: readonly DataSource[]): void {
  const refuse = (message: string, help: string): Error => failure("train/bad-source", message, { help });
  if (sources.length === 0)
    throw failure("train/no-data", "there is nothing to train on", { help: "give files with --data FILE..." });
  for (const [i, { name, weight }] of sources.entries()) {
    if (sources.findIndex((other) => other.name === name) !== i)
      throw refuse(`two sources are called \`${name}\``, "give one of them another name: NAME=PATH");
    if (weight !== null && !(weight > 0 && Number.isFinite(weight)))
      throw refuse(`\`${name}\` has the weight ${weight}`, "give a weight above 0, or leave the source out");
  }
}
