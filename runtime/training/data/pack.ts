/**
 * Sequences for training out of documents: `context` ids, and for each the one that comes next, so of `context` + 1 ids the inner ones are
 * both. `counted` is 0 where there is nothing to learn: the next id begins another document, or is padding.
 *
 * `joined`: documents stand one behind the other and are cut wherever a sequence ends; the next sequence goes on there, so every id is
 * predicted once a pass. Nothing is padding, and where the cuts are may differ from pass to pass by a shift.
 * `documents`: a sequence holds ids of one document. A longer one goes on in further sequences; what is left of each is padding.
 *
 * Limits: a model sees its whole sequence. In `joined` attention, recurrences and positions run across the borders of documents, as in
 * most pretraining: `counted` keeps the guess at another document's first id out of the loss, not the document before out of sight. Where
 * that matters, `documents` keeps them apart for certain. Padding comes last, so causal layers never see it, yet it is routed: it
 * counts in experts' loads and in balance losses.
 */
import { countUpTo, documentAt, type Stretch } from "./stretch.ts";

export type PackMode = "joined" | "documents";

/** One row of a batch, filled in place: three arrays of `context` numbers. */
export interface Sequence {
  readonly ids: Uint32Array;
  readonly target: Uint32Array;
  /** 1, or 0 where the target does not count. */
  readonly counted: Float32Array;
}

export interface Packed {
  readonly stretch: Stretch;
  /** How many sequences are one pass over the stretch; 0 where there is nothing to predict. */
  readonly sequences: number;
  /** A pass may begin that many ids later, and is as long. */
  readonly shifts: number;
  /** Of the places of a pass, how many are padding. */
  readonly padding: number;
  /** Where a sequence's first id lies in the store. */
  begin(sequence: number, shift: number): number;
  write(sequence: number, shift: number, into: Sequence): void;
}

export const newSequence = (context: number): Sequence => ({
  ids: new Uint32Array(context),
  target: new Uint32Array(context),
  counted: new Float32Array(context),
});

export function packStretch(stretch: Stretch, context: number, mode: PackMode): Packed {
  return mode === "joined" ? packJoined(stretch, context) : packDocuments(stretch, context);
}

/** All of a stretch, in order: the last sequence is padded, nothing is left out. For measuring. */
export function packAll(stretch: Stretch, context: number, mode: PackMode): Packed {
  if (mode === "documents") return packDocuments(stretch, context);
  const targets = Math.max(0, stretch.end - stretch.begin - 1);
  const sequences = Math.ceil(targets / context);
  return joinedBy(stretch, context, sequences, 0);
}

/** What does not fill a last sequence is left out of a pass, and in another by the shift. */
function packJoined(stretch: Stretch, context: number): Packed {
  const targets = Math.max(0, stretch.end - stretch.begin - 1);
  const sequences = targets < context ? Math.min(1, targets) : Math.floor(targets / context);
  return joinedBy(stretch, context, sequences, Math.max(0, targets - sequences * context));
}

function joinedBy(stretch: Stretch, context: number, sequences: number, shifts: number): Packed {
  const begin = (sequence: number, shift: number): number => stretch.begin + shift + sequence * context;
  return {
    stretch,
    sequences,
    shifts,
    padding: Math.max(0, sequences * context - (stretch.end - stretch.begin - 1)),
    begin,
    write: (sequence, shift, into) => {
      const at = begin(sequence, shift);
      writeIds(stretch, at, Math.min(stretch.end, at + context + 1), into);
    },
  };
}

function packDocuments(stretch: Stretch, context: number): Packed {
  const { store, begin, end } = stretch;
  const first = documentAt(store, begin);
  const last = countUpTo(store.starts, end - 1);
  const bounds = [begin, ...store.starts.subarray(first + 1, last), end];
  /** Sequences up to and with each document. */
  const upTo = new Float64Array(Math.max(0, bounds.length - 1));
  let [sequences, targets] = [0, 0];
  for (let d = 0; d < upTo.length; d++) {
    const length = Math.max(0, bounds[d + 1]! - bounds[d]! - 1);
    targets += length;
    upTo[d] = sequences += Math.ceil(length / context);
  }
  const find = (sequence: number): { readonly at: number; readonly end: number } => {
    const document = countUpTo(upTo, sequence);
    const before = document === 0 ? 0 : upTo[document - 1]!;
    return { at: bounds[document]! + (sequence - before) * context, end: bounds[document + 1]! };
  };
  return {
    stretch,
    sequences,
    shifts: 0,
    padding: sequences * context - targets,
    begin: (sequence) => find(sequence).at,
    write: (sequence, _, into) => {
      const { at, end: stop } = find(sequence);
      writeIds(stretch, at, Math.min(stop, at + context + 1), into);
    },
  };
}

/** Ids `at ..< end` and their targets; then padding, which repeats the last id, so that it is one of the vocabulary. */
function writeIds({ store }: Stretch, at: number, end: number, { ids, target, counted }: Sequence): void {
  const all = new Uint32Array(end - at);
  store.read(at, all);
  const targets = all.length - 1;
  ids.set(all.subarray(0, targets));
  target.set(all.subarray(1));
  ids.fill(all[targets]!, targets);
  target.fill(all[targets]!, targets);
  counted.fill(1, 0, targets).fill(0, targets);
  const { starts } = store;
  for (let d = countUpTo(starts, at); d < starts.length && starts[d]! < end; d++) counted[starts[d]! - at - 1] = 0;
}
