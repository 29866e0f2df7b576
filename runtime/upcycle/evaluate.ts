/**
 * Elements of the result: copies byte for byte, everything else summed in float32 and rounded once to the type it is stored
 * in. Fresh values depend on seed and path alone, so neither the order of work nor the cut into units shows.
 */
import type { Assignment, Pass, SourceTerm, Statistic, Term, View } from "../../compiler/index.ts";
import { addFresh, eachLine, FORMULAS, isWhole, MEASURES, orderTerms } from "../../compiler/index.ts";
import type { StorageType } from "../../compiler/plan/plan.ts";
import { type DataType, fromFloat32, toFloat32 } from "../checkpoint/index.ts";
import { STORAGE_BYTES } from "../model.ts";
import type { ParameterSource } from "../parameters.ts";
import { isContiguous, scatter } from "../strided.ts";
import { isCopy, type Unit } from "./transfer.ts";

/** Names of the storage types in a safetensors file. */
export const DATA_TYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Record<StorageType, DataType>;

/** The bytes of a unit, as they go to the file. */
export async function evaluateUnit(
  unit: Unit,
  sources: readonly ParameterSource[],
  dtype: StorageType,
): Promise<Uint8Array> {
  const { window, runs } = unit;
  const [only] = runs;
  // A run that is the whole window needs no place of its own.
  if (runs.length === 1 && only!.range.length === window.length && isContiguous(only!.piece)) {
    return evaluateAssignment(only!.assignment, sources, dtype);
  }
  const out = new Uint8Array(window.length * STORAGE_BYTES[dtype]);
  for (const { piece, range, assignment } of runs) {
    const bytes = await evaluateAssignment(assignment, sources, dtype);
    scatter(bytes, STORAGE_BYTES[dtype], piece, range, window, out);
  }
  return out;
}

async function evaluateAssignment(
  assignment: Assignment,
  sources: readonly ParameterSource[],
  dtype: StorageType,
): Promise<Uint8Array> {
  const { offset, length, terms } = assignment;
  if (isCopy(assignment, sources, dtype)) {
    const [term] = terms as readonly [SourceTerm];
    return readView(sources[term.source]!, term, offset, length);
  }
  return fromFloat32(DATA_TYPES[dtype], await sumTerms(terms, offset, length, sources));
}

async function sumTerms(
  terms: readonly Term[],
  offset: number,
  length: number,
  sources: readonly ParameterSource[],
): Promise<Float32Array> {
  const sum = new Float32Array(length);
  for (const term of terms) {
    if (term.kind === "fresh") {
      addFresh(term, offset, sum);
      continue;
    }
    if (term.kind !== "source") {
      await addDerived(term, offset, sum, sources);
      continue;
    }
    const source = sources[term.source]!;
    const bytes = await readView(source, term, offset, length);
    addScaled(sum, toFloat32(DATA_TYPES[source.storage(term.path)], bytes), term.weight);
  }
  return sum;
}

/** A function of its own, since loops over arrays compile better there than inside an async one. */
function addScaled(sum: Float32Array, values: Float32Array, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + weight * values[i]!;
}

/** Elements of a formula, or of a sum in another order, that are made at a time. */
const PART = 1 << 18;

type Derived = Exclude<Term, { kind: "source" | "fresh" }>;

/** Adds what a term makes of others: whole bands of it, of which the view has some. */
async function addDerived(
  term: Derived,
  offset: number,
  sum: Float32Array,
  sources: readonly ParameterSource[],
): Promise<void> {
  for (let at = 0; at < sum.length; at += PART) {
    const length = Math.min(PART, sum.length - at);
    for (const { first, end, lines } of bandsOf(term.view, offset + at, length, 4, 4 * length)) {
      const values = await deriveRange(term, first, end - first, sources);
      for (const { at: to, start, count } of lines)
        addScaled(sum.subarray(at + to, at + to + count), values.subarray(start - first), term.weight);
    }
  }
}

async function deriveRange(
  term: Derived,
  start: number,
  length: number,
  sources: readonly ParameterSource[],
): Promise<Float32Array> {
  if (term.kind === "ordered")
    return sumTerms(orderTerms(term, await measure(term.order, sources)), start, length, sources);
  const numbers = [...term.constants];
  for (const statistic of term.statistics) numbers.push(...(await measure(statistic, sources)));
  const inputs: Float32Array[] = [];
  for (const input of term.inputs) inputs.push(await sumTerms(input, start, length, sources));
  const out = new Float32Array(length);
  FORMULAS[term.formula](numbers, inputs, start, out);
  return out;
}

/** Parts of one term share what whole tensors say, and so do terms that share a statistic. */
const known = new WeakMap<Statistic, Promise<readonly number[]>>();

function measure(statistic: Statistic, sources: readonly ParameterSource[]): Promise<readonly number[]> {
  const found = known.get(statistic) ?? runPasses(statistic, sources);
  known.set(statistic, found);
  return found;
}

async function runPasses(
  { measure: name, constants, inputs, length }: Statistic,
  sources: readonly ParameterSource[],
): Promise<readonly number[]> {
  let state: Pass | readonly number[] = MEASURES[name].start(constants, length);
  while ("add" in state) {
    for (let at = 0; at < length; at += PART) {
      const parts: Float32Array[] = [];
      for (const input of inputs) parts.push(await sumTerms(input, at, Math.min(PART, length - at), sources));
      state.add(at, parts);
    }
    state = state.end();
  }
  return state;
}

/** Lines closer than this are read together with what lies between them. */
const GAP_BYTES = 1 << 16;
const BAND_BYTES = 8 << 20;
/** Elements whose lines are listed at a time. */
const LISTED = 1 << 17;

/** Elements of a view as bytes of the source's type; absent ones are zero. */
async function readView(
  source: ParameterSource,
  { path, view }: SourceTerm,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  if (isWhole(view)) return source.read(path, view.start + offset, length);
  const width = STORAGE_BYTES[source.storage(path)];
  const out = new Uint8Array(length * width);
  for (let at = 0; at < length; at += LISTED) {
    for (const { first, end, lines } of bandsOf(view, offset + at, Math.min(LISTED, length - at), width)) {
      const bytes = await source.read(path, first, end - first);
      for (const line of lines) {
        const from = (line.start - first) * width;
        out.set(bytes.subarray(from, from + line.count * width), (at + line.at) * width);
      }
    }
  }
  return out;
}

interface Band {
  readonly first: number;
  readonly end: number;
  readonly lines: readonly { readonly at: number; readonly start: number; readonly count: number }[];
}

/** Lines in order, joined while little is read that none of them wants. */
function bandsOf(view: View, offset: number, length: number, width: number, most = BAND_BYTES): readonly Band[] {
  const bands: { first: number; end: number; lines: Band["lines"][number][] }[] = [];
  eachLine(view, offset, length, (at, start, count) => {
    const line = { at, start, count };
    const band = bands.at(-1);
    const first = Math.min(start, band?.first ?? start);
    const end = Math.max(start + count, band?.end ?? 0);
    const further = band === undefined ? 0 : (end - first - (band.end - band.first)) * width;
    if (band === undefined || further > GAP_BYTES + count * width || (end - first) * width > most)
      bands.push({ first: start, end: start + count, lines: [line] });
    else {
      band.first = first;
      band.end = end;
      band.lines.push(line);
    }
  });
  return bands;
}
