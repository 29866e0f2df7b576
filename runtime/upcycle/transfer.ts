/**
 * A checkpoint to write, planned before anything is read: every tensor in units that fit a budget of memory, every unit as
 * runs of parameters with the assignment that gives them. An upcycling and an export differ only in their assignments.
 */
import type { Assignment, Piece, TensorEntry, Term } from "../../compiler/index.ts";
import { MEASURES, sliceAssignment, type Statistic, statisticsOf, sumsOf } from "../../compiler/index.ts";
import { elementBytes, type ElementType } from "../checkpoint/element-type.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { LIMITS } from "../../grammar/limits.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import type { ProvenanceHead } from "./provenance-head.ts";
import type { SourceRun } from "./runs.ts";
import { countElements, isContiguous, type Range, runWithin } from "../checkpoint/strided.ts";

export interface Transfer {
  /** In the order of writing. */
  readonly tensors: readonly TransferTensor[];
  /** By number, as terms of assignments name them. */
  readonly sources: readonly ParameterSource[];
  /** Models that run before anything is written. */
  readonly runs: readonly SourceRun[];
  /** Closed by whoever opened them. Their files must not change while they are read. */
  readonly checkpoints: readonly Checkpoint[];
  /** What all written bytes follow from: the same for another plan of the same, whatever its budget. */
  readonly fingerprint: string;
  /** Of `moec.provenance.json`, but for what is only known when all is written. */
  readonly provenance: ProvenanceHead;
  /** Strings for the header of every file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The text of config.json. */
  readonly config: string;
  /** The checkpoint whose tokenizer and settings for generation go along; null where there is none. */
  readonly folder: string | null;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** The most bytes of weights held at a time, by all lanes. The program, and 8 MiB for a strided read, come on top. */
  readonly peakBytes: number;
}

export interface TransferTensor {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly bytesRead: number;
  /** What it is made from, before it is cut into units. */
  readonly parts: readonly Part[];
  readonly units: readonly Unit[];
}

/** The elements of a piece that one assignment gives; `assignment` is cut to the piece. */
export interface Part {
  readonly piece: Piece;
  readonly assignment: Assignment;
}

/** A contiguous range of a tensor's elements, made in memory and written at once. */
export interface Unit {
  readonly window: Range;
  readonly runs: readonly Run[];
  /** Bytes held while it is made. */
  readonly memory: number;
}

/** The elements of a part that a unit needs. */
export interface Run extends Part {
  /** In elements of the piece. */
  readonly range: Range;
  readonly bytesRead: number;
}

export interface TransferOptions {
  readonly sources: readonly ParameterSource[];
  readonly dtype: (entry: TensorEntry) => ElementType;
  /** Bytes held at a time, over all lanes. */
  readonly budget?: number;
}

/** Units in the making or on their way to the disk at one time: some are read and some written while one is computed. */
export const LANES = 4;

/** What is held unless a budget is given, and the most that is used of a larger one: larger units are no faster. */
export const BUDGET_BYTES = 32 << 20;

/** Units begin at multiples of this where they can, so that what follows them is aligned. */
const WHOLE = 4096;

export function planTensors(
  entries: readonly TensorEntry[],
  assignments: readonly Assignment[],
  options: TransferOptions,
): readonly TransferTensor[] {
  const byPath = Map.groupBy(assignments, (a) => a.path);
  const counted = new Set<Statistic>();
  return entries.map((entry) => planTensor(entry, byPath, counted, options));
}

/** Totals of planned tensors. */
export function sumTransfer(
  tensors: readonly TransferTensor[],
): Pick<Transfer, "bytesRead" | "bytesWritten" | "peakBytes"> {
  const largest = tensors.flatMap((t) => t.units.map((u) => u.memory)).sort((a, b) => b - a);
  return {
    bytesRead: tensors.reduce((n, t) => n + t.bytesRead, 0),
    bytesWritten: tensors.reduce((n, t) => n + t.bytes, 0),
    // Every lane has room for the largest unit.
    peakBytes: (largest[0] ?? 0) * Math.min(LANES, largest.length),
  };
}

function planTensor(
  entry: TensorEntry,
  byPath: ReadonlyMap<string, readonly Assignment[]>,
  counted: Set<Statistic>,
  options: TransferOptions,
): TransferTensor {
  const { sources, budget = BUDGET_BYTES } = options;
  const dtype = options.dtype(entry);
  const width = elementBytes(dtype);
  const count = countElements(entry.shape);
  const parts = entry.pieces.flatMap((piece) => partsOf(piece, byPath.get(piece.path) ?? []));
  const widest = Math.max(0, ...parts.map((part) => workingWidth(part, sources, dtype)));
  const most = Math.max(1, Math.floor(Math.min(budget, BUDGET_BYTES) / LANES / (width + widest)));
  const step = most < WHOLE ? most : most - (most % WHOLE);
  if (count / step > LIMITS.units) {
    const least = Math.ceil(count / LIMITS.units) * LANES * (width + widest);
    throw failure(
      "checkpoint/little-memory",
      `with ${budget} B of memory \`${entry.tensor}\` would be written in ${Math.ceil(count / step)} pieces, and at most ${LIMITS.units} are`,
      { labels: [{ span: entry.span, text: "this tensor" }], help: `give at least ${least} bytes with --memory` },
    );
  }
  const units: Unit[] = [];
  for (let start = 0; start < count; start += step) {
    const window = { start, length: Math.min(step, count - start) };
    const runs = parts.flatMap((part) => planRuns(part, runWithin(part.piece, window), step, sources, counted));
    const working = runs.map((run) => run.range.length * workingWidth(run, sources, dtype));
    units.push({ window, runs, memory: window.length * width + Math.max(0, ...working) });
  }
  const bytesRead = units.reduce((n, unit) => n + unit.runs.reduce((m, run) => m + run.bytesRead, 0), 0);
  return { name: entry.tensor, dtype, shape: entry.shape, bytes: count * width, bytesRead, parts, units };
}

function partsOf(piece: Piece, assignments: readonly Assignment[]): readonly Part[] {
  return assignments.flatMap((assignment) => {
    const start = Math.max(piece.target, assignment.start);
    const end = Math.min(piece.target + countElements(piece.sizes), assignment.start + assignment.length);
    return start < end
      ? [{ piece, assignment: sliceAssignment(assignment, start - assignment.start, end - start) }]
      : [];
  });
}

/** Bytes per element that are held beside the result: the sources of a sum, and what does not lie as the tensor has it. */
function workingWidth({ piece, assignment }: Part, sources: readonly ParameterSource[], dtype: ElementType): number {
  const scattered = isContiguous(piece) ? 0 : elementBytes(dtype);
  return scattered + (isCopy(assignment, sources, dtype) ? 0 : heldBytes(assignment.terms, sources));
}

/** The elements of a part that lie in a range of its piece, at most `longest` at a time. */
function planRuns(
  { piece, assignment }: Part,
  range: Range,
  longest: number,
  sources: readonly ParameterSource[],
  counted: Set<Statistic>,
): readonly Run[] {
  const runs: Run[] = [];
  const end = Math.min(piece.target + range.start + range.length, assignment.start + assignment.length);
  for (let start = Math.max(piece.target + range.start, assignment.start); start < end; start += longest) {
    const length = Math.min(longest, end - start);
    const cut = sliceAssignment(assignment, start - assignment.start, length);
    const bytesRead =
      readBytes(cut.terms, length, sources) + (cut.offset === 0 ? statisticBytes(cut.terms, sources, counted) : 0);
    runs.push({ piece, range: { start: start - piece.target, length }, assignment: cut, bytesRead });
  }
  return runs;
}

/** Bytes of the sources that these terms need; absent elements count, which is more than is read. */
function readBytes(terms: readonly Term[], length: number, sources: readonly ParameterSource[]): number {
  return terms.reduce((n, t) => {
    if (t.kind === "source") return n + length * elementBytes(sources[t.source]!.storage(t.path));
    return n + sumsOf(t).reduce((m, input) => m + readBytes(input, length, sources), 0);
  }, 0);
}

/** What statistics take to read that are not counted yet: all of their passes, before the first part. */
function statisticBytes(terms: readonly Term[], sources: readonly ParameterSource[], counted: Set<Statistic>): number {
  return terms.reduce((n, term) => {
    const fresh = statisticsOf(term).filter((s) => !counted.has(s));
    const within = [...sumsOf(term)];
    const read = fresh.map((s) => {
      counted.add(s);
      within.push(...s.inputs);
      const once = s.inputs.reduce((m, input) => m + readBytes(input, s.length, sources), 0);
      return once * MEASURES[s.measure].passes(s.constants);
    });
    return [...read, ...within.map((input) => statisticBytes(input, sources, counted))].reduce((a, b) => a + b, n);
  }, 0);
}

/** Bytes per element that are held while these terms are added: what is read of sources, and what others make of it. */
function heldBytes(terms: readonly Term[], sources: readonly ParameterSource[]): number {
  return terms.reduce((n, t) => {
    if (t.kind === "fresh" || t.kind === "activation") return n;
    if (t.kind === "source") return n + elementBytes(sources[t.source]!.storage(t.path));
    const inputs = sumsOf(t);
    return n + 8 + 4 * inputs.length + Math.max(...inputs.map((input) => heldBytes(input, sources)));
  }, 0);
}

/** Whether the bytes of the one source are the result. */
export function isCopy({ terms }: Assignment, sources: readonly ParameterSource[], dtype: ElementType): boolean {
  const [term] = terms;
  if (term?.kind !== "source" || terms.length !== 1) return false;
  return term.weight === 1 && sources[term.source]!.storage(term.path) === dtype;
}
