/**
 * A checkpoint to write, planned before anything is read: every tensor in units that fit a budget of memory, every unit as
 * runs of parameters with the assignment that gives them. An upcycling and an export differ only in their assignments.
 */
import type { Assignment, Piece, SourceTerm, TensorEntry, Term } from "../../compiler/index.ts";
import { MEASURES, sliceAssignment, sourcesOf, type Statistic, statisticsOf } from "../../compiler/index.ts";
import type { StorageType } from "../../compiler/plan/plan.ts";
import { STORAGE_BYTES } from "../model.ts";
import type { ParameterSource } from "../parameters.ts";
import { countElements, type Range, runWithin } from "../strided.ts";

export interface Transfer {
  /** In the order of writing. */
  readonly tensors: readonly TransferTensor[];
  /** By number, as terms of assignments name them. */
  readonly sources: readonly ParameterSource[];
  /** The text of config.json. */
  readonly config: string;
  /** The checkpoint whose tokenizer and settings for generation go along. */
  readonly folder: string;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** The most bytes held at a time: one unit being made while another is written. The program, and 8 MiB for a strided read, come on top. */
  readonly peakBytes: number;
}

export interface TransferTensor {
  readonly name: string;
  readonly dtype: StorageType;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly bytesRead: number;
  readonly units: readonly Unit[];
}

/** A contiguous range of a tensor's elements, made in memory and written at once. */
export interface Unit {
  readonly window: Range;
  readonly runs: readonly Run[];
  /** Bytes held while it is made. */
  readonly memory: number;
}

/** Part of a piece; `assignment` is cut to it. */
export interface Run {
  readonly piece: Piece;
  /** In elements of the piece. */
  readonly range: Range;
  readonly assignment: Assignment;
  readonly bytesRead: number;
}

export interface TransferOptions {
  readonly sources: readonly ParameterSource[];
  readonly dtype: (entry: TensorEntry) => StorageType;
  /** Bytes that one unit may hold while it is made. */
  readonly budget?: number;
}

/** Small: what the units leave behind waits for the garbage collector, several of them at a time. Larger ones are no faster. */
export const BUDGET_BYTES = 16 << 20;

/** Bytes per element of an average at most: the sum, a source as stored and widened, the result. */
const BYTES_PER_ELEMENT = 16;

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
  const units = tensors.flatMap((t) =>
    t.units.map((u) => ({ memory: u.memory, bytes: u.window.length * STORAGE_BYTES[t.dtype] })),
  );
  return {
    bytesRead: tensors.reduce((n, t) => n + t.bytesRead, 0),
    bytesWritten: tensors.reduce((n, t) => n + t.bytes, 0),
    peakBytes: units.reduce((most, u, i) => Math.max(most, u.memory + (units[i - 1]?.bytes ?? 0)), 0),
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
  const width = STORAGE_BYTES[dtype];
  const count = countElements(entry.shape);
  // Half of the budget for the result, half for what it is made from.
  const step = Math.max(1, Math.floor(budget / 2 / width));
  const units: Unit[] = [];
  for (let start = 0; start < count; start += step) {
    const window = { start, length: Math.min(step, count - start) };
    const runs = entry.pieces.flatMap((piece) =>
      planRuns(piece, runWithin(piece, window), byPath.get(piece.path) ?? [], budget / 2, sources, counted),
    );
    const working = Math.max(0, ...runs.map((run) => workingBytes(run, sources, dtype)));
    units.push({ window, runs, memory: window.length * width + working });
  }
  const bytesRead = units.reduce((n, unit) => n + unit.runs.reduce((m, run) => m + run.bytesRead, 0), 0);
  return { name: entry.tensor, dtype, shape: entry.shape, bytes: count * width, bytesRead, units };
}

function planRuns(
  piece: Piece,
  range: Range,
  assignments: readonly Assignment[],
  budget: number,
  sources: readonly ParameterSource[],
  counted: Set<Statistic>,
): readonly Run[] {
  const [from, to] = [piece.target + range.start, piece.target + range.start + range.length];
  const runs: Run[] = [];
  for (const assignment of assignments) {
    const end = Math.min(to, assignment.start + assignment.length);
    const width = Math.max(BYTES_PER_ELEMENT, 8 + bytesPerElement(assignment.terms, sources));
    const longest = Math.max(1, Math.floor(budget / width));
    for (let start = Math.max(from, assignment.start); start < end; start += longest) {
      const length = Math.min(longest, end - start);
      const cut = sliceAssignment(assignment, start - assignment.start, length);
      const bytesRead =
        readBytes(cut.terms, length, sources) + (cut.offset === 0 ? statisticBytes(cut.terms, sources, counted) : 0);
      runs.push({ piece, range: { start: start - piece.target, length }, assignment: cut, bytesRead });
    }
  }
  return runs;
}

/** Bytes of the sources that these terms need; absent elements count, which is more than is read. */
function readBytes(terms: readonly Term[], length: number, sources: readonly ParameterSource[]): number {
  return terms.reduce((n, t) => {
    if (t.kind === "source") return n + length * STORAGE_BYTES[sources[t.source]!.storage(t.path)];
    const within = t.kind === "formula" ? t.inputs : t.kind === "ordered" ? [t.terms] : [];
    return n + within.reduce((m, input) => m + readBytes(input, length, sources), 0);
  }, 0);
}

/** What statistics take to read that are not counted yet: all of their passes, before the first part. */
function statisticBytes(terms: readonly Term[], sources: readonly ParameterSource[], counted: Set<Statistic>): number {
  return terms.reduce((n, term) => {
    const fresh = statisticsOf(term).filter((s) => !counted.has(s));
    const within = [...(term.kind === "formula" ? term.inputs : term.kind === "ordered" ? [term.terms] : [])];
    const read = fresh.map((s) => {
      counted.add(s);
      within.push(...s.inputs);
      const once = s.inputs.reduce((m, input) => m + readBytes(input, s.length, sources), 0);
      return once * MEASURES[s.measure].passes(s.constants);
    });
    return [...read, ...within.map((input) => statisticBytes(input, sources, counted))].reduce((a, b) => a + b, n);
  }, 0);
}

function workingBytes({ assignment }: Run, sources: readonly ParameterSource[], dtype: StorageType): number {
  const { terms, length } = assignment;
  if (isCopy(assignment, sources, dtype)) {
    const [{ source, path }] = sourcesOf(terms) as readonly [SourceTerm];
    return length * STORAGE_BYTES[sources[source]!.storage(path)];
  }
  return length * (4 + bytesPerElement(terms, sources) + STORAGE_BYTES[dtype]);
}

/** Bytes held per element beside the sum itself, while the widest of these terms is added. */
function bytesPerElement(terms: readonly Term[], sources: readonly ParameterSource[]): number {
  const widths = terms.map((t) => {
    if (t.kind === "fresh") return 8;
    if (t.kind === "source") return STORAGE_BYTES[sources[t.source]!.storage(t.path)] + 4;
    const inputs = t.kind === "formula" ? t.inputs : [t.terms];
    return 4 * (inputs.length + 1) + Math.max(...inputs.map((input) => bytesPerElement(input, sources)));
  });
  return Math.max(0, ...widths);
}

/** Whether the bytes of the one source are the result. */
export function isCopy({ terms }: Assignment, sources: readonly ParameterSource[], dtype: StorageType): boolean {
  const [term] = terms;
  if (term?.kind !== "source" || terms.length !== 1) return false;
  return term.weight === 1 && sources[term.source]!.storage(term.path) === dtype;
}
