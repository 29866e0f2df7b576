/**
 * Contracts of upcyclings. `ensures A => B` is evaluated on a small random instance through the oracle, before any real
 * byte is read: `identical(src)` makes all sources of a list the same, `close(self, src[0], tol: t)` compares logits.
 */
import type { Expr, UpcycleDecl } from "../../../grammar/ast.ts";
import { type DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { textOf } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import { evaluate, staticEnv } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { fillInit } from "../../language/model/init.ts";
import { buildProgram, newContext, type Model } from "../../language/model/model.ts";
import { tinyModel } from "../../language/model/tiny.ts";
import type { Value as ArrayValue } from "../../ops/define.ts";
import { evaluateProgram } from "../../reference/interpret.ts";
import type { Scope } from "../../language/resolve/scope.ts";
import { applyAssignments, type Weights } from "./apply.ts";
import { namesIn } from "./bind.ts";
import { expandUpcycle, type Upcycling } from "./expand.ts";
import type { Family } from "./target.ts";

export interface ContractResult {
  readonly text: string;
  /** Null when it holds; otherwise what was found. */
  readonly failure: string | null;
}

const TOKENS = 5;

/** Small sizes are multiplied by these, for `where` clauses that ask for divisibility, or for a vocabulary that has certain ids. */
const FACTORS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 256, 2048, 16384];

/** Expands an upcycling over a small model of each family; null when no small instance can be made. Throws `MoeError` when its rules do not fit. */
export function tinyUpcycling(
  decl: UpcycleDecl,
  scope: Scope,
  families: readonly Family[],
  options: ReadonlyMap<string, Value>,
  to: string | null = null,
): Upcycling | null {
  const constrained = new Set(decl.where.flatMap(namesIn));
  let refused: MoeError | null = null;
  for (const factor of FACTORS) {
    const sources = tinySources(families, constrained, factor);
    if (sources === null) continue;
    try {
      return expandUpcycle(decl, scope, sources, options, to);
    } catch (error) {
      if (!(error instanceof MoeError) || error.diagnostics.some((d) => d.code !== "upcycle/where")) throw error;
      refused = error;
    }
  }
  if (refused !== null) throw refused;
  return null;
}

/** A small model for every source, with the sizes that are `constrained` times a factor. Sizes of one name are one size. */
function tinySources(
  families: readonly Family[],
  constrained: ReadonlySet<string>,
  factor: number,
): readonly Model[] | null {
  const sources: Model[] = [];
  const sizes = new Map<string, Value>();
  for (const { decl, scope, args } of families) {
    const plain = tinyModel(decl, scope, sizes) ?? tinyModel(decl, scope, reduceSizes(args ?? new Map()));
    const larger = [...(plain?.args ?? [])].flatMap(([name, v]): [string, Value][] =>
      constrained.has(name) && v.kind === "axis" && !sizes.has(name)
        ? [[name, { ...v, size: v.size.times(Dim.of(factor)) }]]
        : [],
    );
    const model = larger.length === 0 || factor === 1 ? plain : tinyModel(decl, scope, new Map([...sizes, ...larger]));
    if (model === null) return null;
    for (const [name, value] of model.args) if (value.kind === "axis") sizes.set(name, value);
    sources.push(model);
  }
  return sources;
}

/** Sizes of a model, halved while they are even and more than 8: what divides, or is 1, does so still. */
function reduceSizes(args: ReadonlyMap<string, Value>): ReadonlyMap<string, Value> {
  const reduce = (size: number): number => (size <= 8 ? size : size % 2 === 0 ? reduce(size / 2) : 7);
  return new Map(
    [...args].flatMap(([name, value]): [string, Value][] =>
      value.kind === "axis" ? [[name, { ...value, size: Dim.of(reduce(value.size.value ?? 2)) }]] : [],
    ),
  );
}

/** Evaluates every contract, each on an instance for which its premises hold. */
export function runContracts(
  decl: UpcycleDecl,
  scope: Scope,
  families: readonly Family[],
  options: ReadonlyMap<string, Value>,
  to: string | null = null,
): readonly ContractResult[] {
  return decl.ensures.map((expr) => {
    const contract = readContract(expr);
    if (contract.odd !== null)
      return {
        text: textOf(expr.span),
        failure: `\`${textOf(contract.odd.span)}\` is no premise: these are \`identical(src)\`, \`flag\`, \`not flag\` and \`parameter == value\``,
      };
    const assumed = assume(decl, scope, families, options, contract.premises);
    const tiny = tinyUpcycling(decl, scope, families, assumed, to);
    const none = "no small instance satisfies the declaration's constraints";
    return { text: textOf(expr.span), failure: tiny === null ? none : evaluateContract(tiny, contract) };
  });
}

interface Contract {
  /** Sources that are lists of one model. */
  readonly identical: ReadonlySet<string>;
  /** What parameters are assumed to be: an expression, or a truth value. */
  readonly premises: readonly { readonly name: string; readonly value: Expr | boolean }[];
  readonly claim: Expr;
  /** A premise that means nothing here. */
  readonly odd: Expr | null;
}

/** `identical(src) and K == N => exact => not shared => close(...)`. */
function readContract(expr: Expr): Contract {
  const identical = new Set<string>();
  const premises: { name: string; value: Expr | boolean }[] = [];
  let odd: Expr | null = null;
  const read = (premise: Expr): void => {
    if (premise.kind === "binary" && premise.op === "and") {
      read(premise.left);
      read(premise.right);
    } else if (premise.kind === "call" && premise.callee.kind === "name" && premise.callee.name.text === "identical") {
      for (const { value } of premise.args) if (value.kind === "name") identical.add(value.name.text);
    } else if (premise.kind === "name") premises.push({ name: premise.name.text, value: true });
    else if (premise.kind === "unary" && premise.op === "not" && premise.value.kind === "name")
      premises.push({ name: premise.value.name.text, value: false });
    else if (premise.kind === "binary" && premise.op === "==" && premise.left.kind === "name")
      premises.push({ name: premise.left.name.text, value: premise.right });
    else odd ??= premise;
  };
  let claim = expr;
  for (; claim.kind === "binary" && claim.op === "=>"; claim = claim.right) read(claim.left);
  return { identical, premises, claim, odd };
}

/** The options under which premises about the declaration's parameters hold. */
function assume(
  decl: UpcycleDecl,
  scope: Scope,
  families: readonly Family[],
  options: ReadonlyMap<string, Value>,
  premises: Contract["premises"],
): ReadonlyMap<string, Value> {
  const locals = new Map(options);
  const env = staticEnv(newContext(), scope, locals);
  const sources = decl.params.filter((p) => p.source !== null).length;
  for (const { name, source, default: initial } of decl.params) {
    if (source?.count != null)
      locals.set(source.count.text, { kind: "number", value: families.length - sources + 1, float: false });
    if (initial !== null && !locals.has(name.text)) locals.set(name.text, evaluate(env, initial));
  }
  const assumed = new Map(options);
  for (const { name, value } of premises) {
    const given: Value = typeof value === "boolean" ? { kind: "bool", value } : evaluate(env, value);
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
  const [tokens] = program.main.inputs;
  const [out] = program.main.outputs;
  if (tokens === undefined || out === undefined) return null;
  const ids = Math.min(7, out.node.type.axes.at(-1)?.size.value ?? 1);
  const data = Float64Array.from({ length: TOKENS }, (_, i) => (i * 5 + 1) % ids);
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const results = evaluateProgram(program, {
    inputs: { [tokens.attrs.name]: { axes: [{ name: "T", size: TOKENS }], data } },
    params: (path) => ({ axes: axes.get(path)!, data: weights.get(path)! }),
    sizes: { T: TOKENS },
  });
  return results[out.name] ?? null;
}
