/**
 * Contracts of upcyclings. `ensures A => B` is evaluated on a small random instance through the oracle, before any real
 * byte is read: `identical(src)` makes all sources of a list the same, `close(self, src[0], tol: t)` compares logits.
 */
import type { Expr, UpcycleDecl } from "../../grammar/ast.ts";
import { type DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { Dim } from "../graph/dim.ts";
import { evaluate, staticEnv } from "../interpret/context.ts";
import type { Value } from "../interpret/value.ts";
import { fillInit } from "../model/init.ts";
import { buildProgram, newContext, type Model } from "../model/model.ts";
import { tinyModel } from "../model/tiny.ts";
import type { Value as ArrayValue } from "../ops/define.ts";
import { evaluateProgram } from "../reference/interpret.ts";
import type { Scope } from "../resolve/modules.ts";
import { expandUpcycle, namesIn, type Upcycling } from "./expand.ts";
import { addFresh, addMoments, type Moments } from "./fresh.ts";
import type { Like, Term } from "./recipe.ts";
import { eachLine } from "./view.ts";

export interface ContractResult {
  readonly text: string;
  /** Null when it holds; otherwise what was found. */
  readonly failure: string | null;
}

type Weights = ReadonlyMap<string, Float64Array>;

const TOKENS = 5;

/** Small sizes are multiplied by these, for `where` clauses that ask for divisibility. */
const FACTORS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32];

/** Expands an upcycling over small sources; null when no small instance can be made. Throws `MoeError` when its rules do not fit. */
export function tinyUpcycling(
  decl: UpcycleDecl,
  scope: Scope,
  sourceCount: number,
  options: ReadonlyMap<string, Value>,
): Upcycling | null {
  const constrained = new Set(decl.where.flatMap(namesIn));
  let refused: MoeError | null = null;
  for (const factor of FACTORS) {
    const sources = tinySources(decl, scope, sourceCount, constrained, factor);
    if (sources === null) continue;
    try {
      return expandUpcycle(decl, scope, sources, options);
    } catch (error) {
      if (!(error instanceof MoeError) || error.diagnostics.some((d) => d.code !== "upcycle/where")) throw error;
      refused = error;
    }
  }
  if (refused !== null) throw refused;
  return null;
}

/** A small model for every source, with the sizes that are `constrained` times a factor. */
function tinySources(
  decl: UpcycleDecl,
  scope: Scope,
  sourceCount: number,
  constrained: ReadonlySet<string>,
  factor: number,
): readonly Model[] | null {
  const sources: Model[] = [];
  const params = decl.params.filter((p) => p.source !== null);
  for (const param of params) {
    const found = scope.lookup(param.source!.model.text);
    if (found?.item.kind !== "layer") return null;
    const plain = tinyModel(found.item, found.scope, new Map());
    const larger = [...(plain?.args ?? [])].flatMap(([name, v]): [string, Value][] =>
      constrained.has(name) && v.kind === "axis" ? [[name, { ...v, size: v.size.times(Dim.of(factor)) }]] : [],
    );
    const model = factor === 1 ? plain : tinyModel(found.item, found.scope, new Map(larger));
    if (model === null) return null;
    const count = param.source!.count === null ? 1 : sourceCount - (params.length - 1);
    for (let i = 0; i < count; i++) sources.push(model);
  }
  return sources;
}

/** Evaluates every contract, each on an instance for which its premises hold. */
export function runContracts(
  decl: UpcycleDecl,
  scope: Scope,
  sourceCount: number,
  options: ReadonlyMap<string, Value>,
): readonly ContractResult[] {
  return decl.ensures.map((expr) => {
    const text = expr.span.file.text.slice(expr.span.start, expr.span.end);
    const contract = readContract(expr);
    const tiny = tinyUpcycling(decl, scope, sourceCount, assume(decl, scope, options, contract.premises));
    const none = "no small instance satisfies the declaration's constraints";
    return { text, failure: tiny === null ? none : evaluateContract(tiny, contract) };
  });
}

interface Contract {
  /** Sources that are lists of one model. */
  readonly identical: ReadonlySet<string>;
  /** What parameters are assumed to be. */
  readonly premises: readonly { readonly name: string; readonly value: Expr | null }[];
  readonly claim: Expr;
}

/** `identical(src) and K == N => exact => close(...)`. */
function readContract(expr: Expr): Contract {
  const identical = new Set<string>();
  const premises: { name: string; value: Expr | null }[] = [];
  const read = (premise: Expr): void => {
    if (premise.kind === "binary" && premise.op === "and") {
      read(premise.left);
      read(premise.right);
    } else if (premise.kind === "call") {
      for (const { value } of premise.args) if (value.kind === "name") identical.add(value.name.text);
    } else if (premise.kind === "name") premises.push({ name: premise.name.text, value: null });
    else if (premise.kind === "binary" && premise.op === "==" && premise.left.kind === "name")
      premises.push({ name: premise.left.name.text, value: premise.right });
  };
  let claim = expr;
  for (; claim.kind === "binary" && claim.op === "=>"; claim = claim.right) read(claim.left);
  return { identical, premises, claim };
}

/** The options under which premises about the declaration's parameters hold. */
function assume(
  decl: UpcycleDecl,
  scope: Scope,
  options: ReadonlyMap<string, Value>,
  premises: Contract["premises"],
): ReadonlyMap<string, Value> {
  const locals = new Map(options);
  const env = staticEnv(newContext(), scope, locals);
  for (const { name, default: initial } of decl.params) {
    if (initial !== null && !locals.has(name.text)) locals.set(name.text, evaluate(env, initial));
  }
  const assumed = new Map(options);
  for (const { name, value } of premises) {
    const given: Value = value === null ? { kind: "bool", value: true } : evaluate(env, value);
    assumed.set(name, given);
    locals.set(name, given);
  }
  return assumed;
}

/** Reports contracts that do not hold. */
export function reportContracts(bag: DiagnosticBag, decl: UpcycleDecl, results: readonly ContractResult[]): void {
  results.forEach((result, i) => {
    if (result.failure !== null) {
      bag.error(
        "upcycle/contract",
        `\`${result.text}\` does not hold: ${result.failure}`,
        [{ span: decl.ensures[i]!.span, text: "evaluated on a small random instance" }],
        "mend the rules above, or state what is really preserved",
      );
    }
  });
}

function evaluateContract(tiny: Upcycling, { claim, identical }: Contract): string | null {
  if (claim.kind !== "call" || claim.callee.kind !== "name" || claim.callee.name.text !== "close")
    return "a contract ends in `close(a, b, tol: t)`";
  const weights = sourceWeights(tiny, identical);
  const target = applyAssignments(tiny, weights);
  const [a, b] = claim.args.filter((arg) => arg.name === null).map((arg) => logitsOf(arg.value, tiny, weights, target));
  const tol = claim.args.find((arg) => arg.name?.text === "tol")?.value;
  const tolerance = tol?.kind === "number" ? tol.value : 1e-5;
  if (a == null || b == null) return "`close` compares `self` and sources";
  let worst = 0;
  a.data.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - b.data[i]!))));
  return worst <= tolerance ? null : `the logits differ by ${worst.toExponential(2)}, allowed are ${tolerance}`;
}

function sourceWeights(tiny: Upcycling, identical: ReadonlySet<string>): readonly Weights[] {
  return tiny.sources.map((model, i) => {
    const list = [...tiny.sourceIndex].find(([, indices]) => indices.includes(i));
    const seed = list !== undefined && identical.has(list[0]) ? list[1][0]! : i;
    return new Map(
      model.parameters.map((p) => {
        const data = new Float64Array(p.axes.reduce((n, a) => n * a.size, 1));
        fillInit({ kind: "normal", std: 0.3, seed: seed + 1 }, p.path, 0, data);
        return [p.path, data];
      }),
    );
  });
}

/** Runs the assignments in float64: the meaning that an executor streams. */
export function applyAssignments(upcycling: Upcycling, sources: readonly Weights[]): Weights {
  const target = new Map(
    upcycling.target.parameters.map((p) => [p.path, new Float64Array(p.axes.reduce((n, a) => n * a.size, 1))]),
  );
  for (const { path, start, length, offset, terms } of upcycling.assignments)
    sumTerms(terms, offset, target.get(path)!.subarray(start, start + length), sources);
  return target;
}

function sumTerms(terms: readonly Term[], offset: number, out: Float64Array, sources: readonly Weights[]): void {
  for (const term of terms) {
    if (term.kind === "fresh") {
      const moments = term.like === null ? null : momentsOf(term.like, sources);
      addFresh(term, offset, out, moments);
      continue;
    }
    const from = sources[term.source]!.get(term.path)!;
    eachLine(term.view, offset, out.length, (at, start, count) => {
      for (let i = 0; i < count; i++) out[at + i]! += term.weight * from[start + i]!;
    });
  }
}

function momentsOf(like: Like, sources: readonly Weights[]): Moments {
  const values = new Float64Array(like.length);
  sumTerms(like.terms, 0, values, sources);
  const moments = { count: 0, sum: 0, squares: 0 };
  addMoments(moments, like.view, 0, values);
  return moments;
}

function logitsOf(expr: Expr, tiny: Upcycling, weights: readonly Weights[], target: Weights): ArrayValue | null {
  if (expr.kind === "name" && expr.name.text === "self") return runModel(tiny.target, target);
  const name =
    expr.kind === "bracket" && expr.object.kind === "name"
      ? expr.object.name.text
      : expr.kind === "name"
        ? expr.name.text
        : null;
  const index = expr.kind === "bracket" && expr.items[0]?.kind === "number" ? expr.items[0].value : 0;
  const model = name === null ? undefined : tiny.sourceIndex.get(name)?.[index];
  return model === undefined ? null : runModel(tiny.sources[model]!, weights[model]!);
}

function runModel(model: Model, weights: Weights): ArrayValue | null {
  const program = buildProgram(model.instance);
  const [ids] = program.main.inputs;
  const [out] = program.main.outputs;
  if (ids === undefined || out === undefined) return null;
  const data = Float64Array.from({ length: TOKENS }, (_, i) => (i * 5 + 1) % 7);
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const results = evaluateProgram(program, {
    inputs: { [ids.attrs.name]: { axes: [{ name: "T", size: TOKENS }], data } },
    params: (path) => ({ axes: axes.get(path)!, data: weights.get(path)! }),
    sizes: { T: TOKENS },
  });
  return results[out.name] ?? null;
}
