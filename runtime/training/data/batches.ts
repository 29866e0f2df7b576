/**
 * The sequences of every micro-batch of a run, and those to measure by. What a micro-batch holds depends on its step and number and on the
 * seed, never on what was asked for before: a run that is resumed goes on as if it had not stopped.
 *
 * ```ts
 * const data = openBatches({ sources, context: 256, sequences: 8, micros: 2, seed: 1, pack: "joined" });
 * data.next(1, 0); // of step 1, the first micro-batch: { ids, target, counted, source, places }
 * data.state(); // what a checkpoint keeps, and `restore` compares
 * for (const batch of data.heldOut(0, 16)) ...; // the first 16 held-out sequences of source 0
 * ```
 */
import { failure } from "../../../grammar/diagnostic.ts";
import {
  count,
  fields,
  type Json,
  listOf,
  number,
  type Problem,
  showValue,
  test,
  text,
} from "../../files/json-shape.ts";
import { bitsAt } from "./counter.ts";
import { Mixture, type MixtureState } from "./mixture.ts";
import { newSequence, packAll, type Packed, type PackMode, packStretch, type Sequence } from "./pack.ts";
import { documentAt, type Stretch } from "./stretch.ts";

/** One source of a mixture, tokenised and split. */
export interface BatchSource {
  readonly name: string;
  readonly weight: number;
  /** Of all that decides its ids: equal hashes, equal ids. */
  readonly hash: string;
  readonly train: Stretch;
  readonly heldOut: Stretch;
}

export interface BatchOptions {
  readonly sources: readonly BatchSource[];
  /** Ids of a sequence. */
  readonly context: number;
  /** Sequences of a micro-batch. */
  readonly sequences: number;
  /** Micro-batches of a step. */
  readonly micros: number;
  readonly seed: number;
  readonly pack: PackMode;
}

/** Rows of a micro-batch: `ids` and `target` u32 [sequences][context], `counted` f32 of the same shape. */
export interface Batch {
  readonly ids: readonly Uint32Array[];
  readonly target: readonly Uint32Array[];
  /** 1 where the target counts in the loss, else 0. */
  readonly counted: readonly Float32Array[];
  /** Of each sequence, the number of its source. */
  readonly source: readonly number[];
  /** Of each sequence, where its first id is from, for messages: `code: src/a.py, document 1, id 512`. */
  readonly places: readonly string[];
}

/** What a checkpoint keeps of the data. JSON. */
export interface DataState extends MixtureState {
  readonly seed: number;
  readonly context: number;
  readonly pack: PackMode;
  /** `tokens`: ids to train on. */
  readonly sources: readonly Readonly<{ name: string; weight: number; hash: string; tokens: number }>[];
}

export interface Batches {
  /** Of each source: sequences of a pass, and how many of a pass's places are padding. */
  readonly passes: readonly Pick<Packed, "sequences" | "padding">[];
  /** The micro-batch `micro` from 0 of step `step` from 1. */
  next(step: number, micro: number): Batch;
  /** Held-out sequences of a source in order, `most` of them at most, as batches of at most `sequences`; none where nothing is held out. */
  heldOut(source: number, most: number): Generator<Batch>;
  state(): DataState;
  /** Throws `train/changed` where `state` is not what this data gives after as many draws, `train/bad-record` where it is no state. */
  restore(state: Json): void;
}

/** Throws `train/empty-data`. */
export function openBatches(options: BatchOptions): Batches {
  const { sources, context, sequences, micros, seed, pack } = options;
  const packed = sources.map(({ train }) => packStretch(train, context, pack));
  const measured = sources.map(({ heldOut }) => packAll(heldOut, context, pack));
  packed.forEach((p, i) => {
    if (p.sequences === 0) throw nothingToLearn(sources[i]!);
  });
  const mixture = new Mixture(
    sources.map(({ weight }, i) => ({ weight, sequences: packed[i]!.sequences })),
    seed,
  );
  const rowOf = (of: readonly Packed[], source: number, sequence: number, shift: number): Row => {
    const row = newSequence(context);
    of[source]!.write(sequence, shift, row);
    return { ...row, source, place: placeOf(sources[source]!, of[source]!, sequence, shift) };
  };
  return {
    passes: packed,
    next(step, micro) {
      mixture.seek(((step - 1) * micros + micro) * sequences);
      return toBatch(
        Array.from({ length: sequences }, () => {
          const { source, pass, sequence } = mixture.next();
          const shift = bitsAt(seed, "shift", source, pass) % (packed[source]!.shifts + 1);
          return rowOf(packed, source, sequence, shift);
        }),
      );
    },
    *heldOut(source, most) {
      const count = Math.min(most, measured[source]!.sequences);
      for (let at = 0; at < count; at += sequences)
        yield toBatch(
          Array.from({ length: Math.min(sequences, count - at) }, (_, i) => rowOf(measured, source, at + i, 0)),
        );
    },
    state: () => ({
      ...mixture.state,
      seed,
      context,
      pack,
      sources: sources.map(({ name, weight, hash, train }) => ({
        name,
        weight,
        hash,
        tokens: train.end - train.begin,
      })),
    }),
    restore(given) {
      const problem = shape(given, "data") ?? sum(given, "data");
      if (problem !== null) throw noState(problem);
      const state = given as DataState;
      mixture.seek(state.draws);
      const difference = findDifference(state, this.state());
      if (difference !== null)
        throw failure("train/changed", `the data is not what the run was begun with: ${difference}`, {
          help: "give the same files, weights, tokenizer, seed and context, or begin a new run",
        });
    },
  };
}

const shape = fields({
  draws: count,
  positions: listOf(count),
  seed: count,
  context: count,
  pack: text,
  sources: listOf(fields({ name: text, weight: number, hash: text, tokens: count })),
});

/** Looked at before as many draws are made. */
const sum = test("as many draws as there are positions in all", (value) => {
  const { draws, positions } = value as DataState;
  return draws === positions.reduce((a, b) => a + b, 0);
});

function noState({ path, wanted, value }: Problem): Error {
  return failure(
    "train/bad-record",
    `what was kept of the data is not as moec writes it: \`${path}\` must be ${wanted}`,
    {
      notes: [`it is ${showValue(value)}`],
      help: "go on from an earlier checkpoint",
    },
  );
}

interface Row extends Sequence {
  readonly source: number;
  readonly place: string;
}

function toBatch(rows: readonly Row[]): Batch {
  return {
    ids: rows.map((row) => row.ids),
    target: rows.map((row) => row.target),
    counted: rows.map((row) => row.counted),
    source: rows.map((row) => row.source),
    places: rows.map((row) => row.place),
  };
}

function placeOf(
  { name }: BatchSource,
  { stretch: { store }, begin }: Packed,
  sequence: number,
  shift: number,
): string {
  const at = begin(sequence, shift);
  const document = documentAt(store, at);
  return `${name}: ${store.nameOf(document)}, id ${at - store.starts[document]!}`;
}

/** What differs first, in words; null where nothing does. */
function findDifference(kept: DataState, own: DataState): string | null {
  const names = (state: DataState): string => state.sources.map(({ name }) => name).join(", ");
  if (names(kept) !== names(own)) return `its sources were ${names(kept)}, and are ${names(own)}`;
  for (const key of ["seed", "context", "pack"] as const)
    if (kept[key] !== own[key]) return `\`${key}\` was ${kept[key]}, and is ${own[key]}`;
  for (const [i, now] of own.sources.entries()) {
    const before = kept.sources[i]!;
    if (before.weight !== now.weight) return `\`${now.name}\` had the weight ${before.weight}, and has ${now.weight}`;
    if (before.hash !== now.hash) return `\`${now.name}\` has other ids: its files or its tokenizer differ`;
    if (before.tokens !== now.tokens)
      return `\`${now.name}\` had ${before.tokens} ids to train on, and has ${now.tokens}: another part is held out`;
  }
  return kept.positions.every((p, i) => p === own.positions[i]) ? null : "other sequences had been drawn by then";
}

function nothingToLearn({ name, heldOut }: BatchSource): Error {
  const kept = heldOut.end - heldOut.begin;
  return failure("train/empty-data", `\`${name}\` has no two ids to train on`, {
    notes: kept === 0 ? [] : [`${kept} ids of it are held out`],
    help: kept === 0 ? "give a longer text" : "hold out less, or give a longer text",
  });
}
