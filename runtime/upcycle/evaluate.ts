/**
 * Elements of the result: copies byte for byte, everything else summed in float32 and rounded once to the type it is stored
 * in. Fresh values depend on seed and path alone, so neither the order of work nor the cut into units shows.
 */
import type { Assignment, Pass, SourceTerm, Statistic, Term, View } from "../../compiler/index.ts";
import { addFresh, eachLine, FORMULAS, isWhole, MEASURES, orderTerms } from "../../compiler/index.ts";
import { elementBytes, type ElementType } from "../checkpoint/element-type.ts";
import type { ParameterSource } from "../gpu/parameters.ts";
import { isContiguous, scatter } from "../checkpoint/strided.ts";
import { type Adder, BLOCK, Lane } from "./lane.ts";
import type { Given } from "./runs.ts";
import { isCopy, type Unit } from "./transfer.ts";

/** What results are made of. */
export interface Inputs {
  readonly sources: readonly ParameterSource[];
  /** f32 [rows, width] each. */
  readonly given: Given;
}

/** The bytes of a unit, as they go to the file; they stay in `lane` until it is released. */
export async function evaluateUnit(unit: Unit, from: Inputs, dtype: ElementType, lane: Lane): Promise<Uint8Array> {
  const { window, runs } = unit;
  const width = elementBytes(dtype);
  const out = lane.take(window.length * width);
  if (runs.reduce((n, run) => n + run.range.length, 0) < window.length) out.fill(0);
  for (const { piece, range, assignment } of runs) {
    const mark = lane.mark;
    if (isContiguous(piece)) {
      const at = (piece.source + range.start - window.start) * width;
      await evaluateAssignment(assignment, from, dtype, out.subarray(at, at + range.length * width), lane);
    } else {
      const bytes = lane.take(range.length * width);
      await evaluateAssignment(assignment, from, dtype, bytes, lane);
      scatter(bytes, width, piece, range, window, out);
    }
    lane.release(mark);
  }
  return out;
}

async function evaluateAssignment(
  assignment: Assignment,
  from: Inputs,
  dtype: ElementType,
  out: Uint8Array,
  lane: Lane,
): Promise<void> {
  const { offset, length, terms } = assignment;
  if (isCopy(assignment, from.sources, dtype)) {
    const [term] = terms as readonly [SourceTerm];
    await readView(from.sources[term.source]!, term, offset, length, out);
    return;
  }
  // All that the sum needs is asked for at once.
  const adders = await Promise.all(terms.map((term) => openTerm(term, offset, length, from, lane)));
  for (let at = 0; at < length; at += BLOCK) {
    lane.store(dtype, lane.sum(adders, at, Math.min(BLOCK, length - at)), out, at);
  }
}

async function openTerm(term: Term, offset: number, length: number, from: Inputs, lane: Lane): Promise<Adder> {
  if (term.kind === "fresh") return (at, sum) => addFresh(term, offset + at, sum);
  if (term.kind === "activation") {
    const given = from.given.get(term.activation)!;
    return (at, sum) =>
      eachLine(term.view, offset + at, sum.length, (to, start, count) => {
        for (let i = 0; i < count; i++) sum[to + i]! += term.weight * given[start + i]!;
      });
  }
  if (term.kind !== "source") {
    const bytes = lane.take(4 * length);
    await fillDerived(term, offset, new Float32Array(bytes.buffer, bytes.byteOffset, length), from);
    return (at, sum) => lane.add("f32", bytes, at, term.weight, sum);
  }
  const source = from.sources[term.source]!;
  const storage = source.storage(term.path);
  const bytes = lane.take(length * elementBytes(storage));
  await readView(source, term, offset, length, bytes);
  return (at, sum) => lane.add(storage, bytes, at, term.weight, sum);
}

/** Elements of a statistic's inputs, or of what is made of other terms, that are made at a time. */
const PART = 1 << 18;

type Derived = Exclude<Term, { kind: "source" | "fresh" | "activation" }>;

/** What a term makes of others: whole bands of it, of which the view has some. */
async function fillDerived(term: Derived, offset: number, out: Float32Array, from: Inputs): Promise<void> {
  out.fill(0);
  for (let at = 0; at < out.length; at += PART) {
    const length = Math.min(PART, out.length - at);
    for (const { first, end, lines } of bandsOf(term.view, offset + at, length, 4, 4 * length)) {
      const values = await deriveRange(term, first, end - first, from);
      for (const { at: to, start, count } of lines)
        out.set(values.subarray(start - first, start - first + count), at + to);
    }
  }
}

async function deriveRange(term: Derived, start: number, length: number, from: Inputs): Promise<Float32Array> {
  if (term.kind === "ordered") return sumRange(orderTerms(term, await measure(term.order, from)), start, length, from);
  const numbers = [...term.constants];
  for (const statistic of term.statistics) numbers.push(...(await measure(statistic, from)));
  const inputs: Float32Array[] = [];
  for (const input of term.inputs) inputs.push(await sumRange(input, start, length, from));
  const out = new Float32Array(length);
  FORMULAS[term.formula](numbers, inputs, start, out);
  return out;
}

/** A sum of its own, in a lane of its own. */
async function sumRange(terms: readonly Term[], start: number, length: number, from: Inputs): Promise<Float32Array> {
  const width = terms.reduce(
    (n, t) => n + (t.kind === "source" ? elementBytes(from.sources[t.source]!.storage(t.path)) : 4),
    0,
  );
  const lane = new Lane(length * width);
  const adders = await Promise.all(terms.map((term) => openTerm(term, start, length, from, lane)));
  const out = new Float32Array(length);
  for (let at = 0; at < length; at += BLOCK) out.set(lane.sum(adders, at, Math.min(BLOCK, length - at)), at);
  return out;
}

/** Parts of one term share what whole tensors say, and so do terms that share a statistic. */
const known = new WeakMap<Statistic, Promise<readonly number[]>>();

function measure(statistic: Statistic, from: Inputs): Promise<readonly number[]> {
  const found = known.get(statistic) ?? runPasses(statistic, from);
  known.set(statistic, found);
  return found;
}

async function runPasses(
  { measure: name, constants, inputs, length }: Statistic,
  from: Inputs,
): Promise<readonly number[]> {
  let state: Pass | readonly number[] = MEASURES[name].start(constants, length);
  while ("add" in state) {
    for (let at = 0; at < length; at += PART) {
      const parts: Float32Array[] = [];
      for (const input of inputs) parts.push(await sumRange(input, at, Math.min(PART, length - at), from));
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
  out: Uint8Array,
): Promise<void> {
  if (isWhole(view)) {
    const bytes = await source.read(path, view.start + offset, length, out);
    if (bytes.buffer !== out.buffer) out.set(bytes);
    return;
  }
  const width = elementBytes(source.storage(path));
  out.fill(0);
  for (let at = 0; at < length; at += LISTED) {
    for (const { first, end, lines } of bandsOf(view, offset + at, Math.min(LISTED, length - at), width)) {
      const bytes = await source.read(path, first, end - first);
      for (const line of lines) {
        const from = (line.start - first) * width;
        out.set(bytes.subarray(from, from + line.count * width), (at + line.at) * width);
      }
    }
  }
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
