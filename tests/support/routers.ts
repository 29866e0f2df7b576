/** The standard library's routers, found by walking it; each as a program, and what it does as one table of gates. */
import type { Program } from "../../compiler/graph/node.ts";
import { printProgram } from "../../compiler/graph/print.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../compiler/graph/traverse.ts";
import type { Purpose } from "../../compiler/language/interpret/context.ts";
import { findPeeks, type Peek } from "../../compiler/passes/incrementalise.ts";
import { timeRule } from "../../compiler/ops/time.ts";
import type { Value } from "../../compiler/ops/define.ts";
import { evaluateProgram } from "../../compiler/reference/interpret.ts";
import { randomParams } from "./compare-plan.ts";
import { makeLayer, namesOf, requires, usual, type Own } from "./library.ts";

export interface TestRouter {
  readonly name: string;
  /** Whether a token's route depends on where it stands. */
  readonly readsPosition: boolean;
  /** Tokens that it needs to route any: one, but where each expert takes so many. */
  readonly fewest: number;
  /** Results only: losses and metrics look at all tokens and are no part of the routing. */
  readonly program: Program;
  readonly params: (path: string) => Value;
  /** The same, but for those that begin as one number: they are that. */
  readonly first: (path: string) => Value;
  /** Ops for which a token's route needs later tokens. */
  readonly peeks: readonly Peek[];
  /** Whether a token's route depends on other tokens at all. */
  readonly mixes: boolean;
}

export const routerNames = namesOf("router");

/** A router with the usual sizes for whatever has no default; `own` gives others. A router that wraps another gets the plain top-k. */
export function makeRouter(name: string, own: Own = {}, purpose: Purpose = "evaluate"): TestRouter {
  const { program: whole, constants } = makeLayer(name, own, purpose);
  const outputs = whole.main.outputs.filter((o) => o.role === "result");
  const program = { ...whole, main: { ...whole.main, outputs } };
  const nodes = allFunctions(program).flatMap((fn) => topologicalOrder(outputNodes(fn)));
  const readsPosition = nodes.some((node) => node.op === "position");
  const mixes = nodes.some((node) => timeRule(node) !== "pointwise");
  const fewest = requires(name, "Z") ? usual["Z"]! : 1;
  const params = randomParams(program);
  const first = (path: string): Value => {
    const [value, constant] = [params(path), constants.get(path)];
    return constant === undefined ? value : { ...value, data: value.data.map(() => constant) };
  };
  return { name, fewest, readsPosition, mixes, program, params, first, peeks: findPeeks(program) };
}

/** A router with as many choices as it takes: all experts, or all but one where it compares with the next best. */
export function makeWidest(name: string, own: Own, purpose: Purpose): TestRouter {
  const N = usual["N"]!;
  try {
    return makeRouter(name, { ...own, K: N }, purpose);
  } catch {
    return makeRouter(name, { ...own, K: N - 1 }, purpose);
  }
}

/** Routers that follow another rule while they are trained. */
export const trainedOtherwise = routerNames.filter((name) => {
  const [plain, trained] = (["evaluate", "train"] as const).map((p) => printProgram(makeRouter(name, {}, p).program));
  return plain !== trained;
});

/** The tokens as the router's one input: rows of x, or ids made from their first elements. */
export function inputOf(router: TestRouter, x: readonly (readonly number[])[]): Record<string, Value> {
  const [input] = router.program.main.inputs;
  const { name, type } = input!.attrs;
  const data = type.dtype === "u32" ? x.map((row) => Math.round(Math.abs(row[0]!) * 1000)) : x.flat();
  const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T: x.length }) }));
  return { [name]: { axes, data: Float64Array.from(data) } };
}

export function routeOnOracle(
  router: TestRouter,
  x: readonly (readonly number[])[],
  params = router.params,
): Record<string, Value> {
  return evaluateProgram(router.program, { inputs: inputOf(router, x), params, sizes: { T: x.length } });
}

/** [T][N]: the weight of each expert for each token, 0 where it was not chosen. */
export function gatesOf(results: Readonly<Record<string, Value>>, T: number, N: number): number[][] {
  const gates = Array.from({ length: T }, () => Array<number>(N).fill(0));
  const { index, weight, out } = results;
  const table = (index ?? out)!;
  table.data.forEach((chosen, at) => {
    const place = placeOf(table, at);
    const [token, expert] =
      index === undefined ? [place["T"]!, place["N"]!] : "T" in place ? [place["T"]!, chosen] : [chosen, place["N"]!];
    gates[token]![expert]! += (index === undefined ? out! : weight!).data[at]!;
  });
  return gates;
}

/** The indices of one element by axis. */
export function placeOf(value: Pick<Value, "axes">, flat: number): Record<string, number> {
  const place: Record<string, number> = {};
  for (const { name, size } of [...value.axes].reverse()) {
    place[name] = flat % size;
    flat = Math.floor(flat / size);
  }
  return place;
}
