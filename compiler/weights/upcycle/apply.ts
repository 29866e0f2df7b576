/** Runs the assignments of an upcycling over whole tensors in float64: the meaning that an executor streams. */
import type { Upcycling } from "./expand.ts";
import { FORMULAS } from "./formula.ts";
import { addFresh } from "./fresh.ts";
import { MEASURES } from "./measure.ts";
import type { Pass } from "./pass.ts";
import { evaluateActivations } from "./observe.ts";
import {
  type Activation,
  activationsOf,
  type ActivationTerm,
  type FormulaTerm,
  type OrderedTerm,
  orderTerms,
  type SourceTerm,
  type Statistic,
  type Term,
} from "./recipe.ts";
import { eachLine, extentOf } from "./view.ts";

export type Weights = ReadonlyMap<string, Float64Array>;

export function applyAssignments(upcycling: Upcycling, sources: readonly Weights[]): Weights {
  const target = new Map(
    upcycling.target.parameters.map((p) => [p.path, new Float64Array(p.axes.reduce((n, a) => n * a.size, 1))]),
  );
  const activations = new Set(upcycling.assignments.flatMap((a) => activationsOf(a.terms)));
  const given = evaluateActivations([...activations], upcycling.sources, sources);
  const run: Run = { sources, given, known: new Map() };
  for (const { path, start, length, offset, terms } of upcycling.assignments)
    sumTerms(terms, offset, target.get(path)!.subarray(start, start + length), run);
  return target;
}

interface Run {
  readonly sources: readonly Weights[];
  readonly given: ReadonlyMap<Activation, Float64Array>;
  readonly known: Map<Statistic, readonly number[]>;
}

function sumTerms(terms: readonly Term[], offset: number, out: Float64Array, run: Run): void {
  for (const term of terms) {
    if (term.kind === "fresh") {
      addFresh(term, offset, out);
      continue;
    }
    const [first, end] = isGiven(term) ? [0, 0] : extentOf(term.view);
    const whole = isGiven(term) ? elementsOf(term, run) : derive(term, first, end, run);
    eachLine(term.view, offset, out.length, (at, start, count) => {
      for (let i = 0; i < count; i++) out[at + i]! += term.weight * whole[start - first + i]!;
    });
  }
}

type GivenTerm = SourceTerm | ActivationTerm;

const isGiven = (term: Term): term is GivenTerm => term.kind === "source" || term.kind === "activation";

function elementsOf(term: GivenTerm, { sources, given }: Run): Float64Array {
  return term.kind === "source" ? sources[term.source]!.get(term.path)! : given.get(term.activation)!;
}

/** The elements `start ..< end` of what a term makes of others. */
function derive(term: FormulaTerm | OrderedTerm, start: number, end: number, run: Run): Float64Array {
  if (term.kind === "ordered") return sumAt(orderTerms(term, measure(term.order, run)), start, end, run);
  const numbers = [...term.constants, ...term.statistics.flatMap((s) => measure(s, run))];
  const inputs = term.inputs.map((terms) => sumAt(terms, start, end, run));
  const out = new Float64Array(end - start);
  FORMULAS[term.formula](numbers, inputs, start, out);
  return out;
}

function sumAt(terms: readonly Term[], start: number, end: number, run: Run): Float64Array {
  const out = new Float64Array(end - start);
  sumTerms(terms, start, out, run);
  return out;
}

function measure(statistic: Statistic, run: Run): readonly number[] {
  const found = run.known.get(statistic);
  if (found !== undefined) return found;
  const { measure: name, constants, inputs, length } = statistic;
  const values = inputs.map((terms) => sumAt(terms, 0, length, run));
  let state: Pass | readonly number[] = MEASURES[name].start(constants, length);
  while ("add" in state) {
    state.add(0, values);
    state = state.end();
  }
  run.known.set(statistic, state);
  return state;
}
