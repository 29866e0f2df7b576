/** The standard library's routers, found by walking it; each as a program, and what it does as one table of gates. */
import { instantiate } from "../../compiler/interpret/instance.ts";
import type { ConstructorValue, Value as Given } from "../../compiler/interpret/value.ts";
import { Dim } from "../../compiler/graph/dim.ts";
import type { Program } from "../../compiler/graph/node.ts";
import { printProgram } from "../../compiler/graph/print.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../compiler/graph/traverse.ts";
import type { Purpose } from "../../compiler/interpret/context.ts";
import { findPeeks, type Peek } from "../../compiler/incrementalise/incrementalise.ts";
import { timeRule } from "../../compiler/ops/time.ts";
import { buildProgram, newContext } from "../../compiler/index.ts";
import type { Value } from "../../compiler/ops/define.ts";
import { evaluateProgram } from "../../compiler/reference/interpret.ts";
import { openWorkspace } from "../../runtime/modules.ts";
import { randomParams } from "./compare-plan.ts";

/** Values for the sizes that routers are made with, by the names of their parameters. */
export const usual: Readonly<Record<string, number>> = {
  D: 5,
  N: 6,
  K: 2,
  Z: 2,
  E: 3,
  H: 4,
  groups: 3,
  kept: 2,
  capacity: 2,
  idle: 2,
};

/** Values for a router's parameters; a string that names a function of the library is that function. */
export type Own = Readonly<Record<string, number | boolean | string>>;

export interface TestRouter {
  readonly name: string;
  /** Whether a token's route depends on where it stands. */
  readonly readsPosition: boolean;
  /** Results only: losses and metrics look at all tokens and are no part of the routing. */
  readonly program: Program;
  readonly params: (path: string) => Value;
  /** Ops for which a token's route needs later tokens. */
  readonly peeks: readonly Peek[];
  /** Whether a token's route depends on other tokens at all. */
  readonly mixes: boolean;
}

const workspace = openWorkspace();
const found = workspace.standardScopes.flatMap((scope) =>
  scope.module.items.flatMap((item): ConstructorValue[] =>
    item.kind === "layer" && item.keyword === "router"
      ? [{ kind: "constructor", decl: item, scope, bound: new Map() }]
      : [],
  ),
);

export const routerNames = found.map((r) => r.decl.name.text).sort();

/** A router with the usual sizes for whatever has no default; `own` gives others. A router that wraps another gets the plain top-k. */
export function makeRouter(name: string, own: Own = {}, purpose: Purpose = "evaluate"): TestRouter {
  const made = constructorOf(name, own);
  const ctx = newContext("build", undefined, purpose);
  const instance = instantiate(ctx, made, "", [], made.decl.span);
  if (instance === null) throw new Error(`${name}: ${ctx.bag.list.map((d) => d.message).join("; ")}`);
  const whole = buildProgram(instance, ctx);
  const outputs = whole.main.outputs.filter((o) => o.role === "result");
  const program = { ...whole, main: { ...whole.main, outputs } };
  const nodes = allFunctions(program).flatMap((fn) => topologicalOrder(outputNodes(fn)));
  const readsPosition = nodes.some((node) => node.op === "position");
  const mixes = nodes.some((node) => timeRule(node) !== "pointwise");
  return { name, readsPosition, mixes, program, params: randomParams(program), peeks: findPeeks(program) };
}

/** Routers that follow another rule while they are trained. */
export const trainedOtherwise = routerNames.filter((name) => {
  const [plain, trained] = (["evaluate", "train"] as const).map((p) => printProgram(makeRouter(name, {}, p).program));
  return plain !== trained;
});

function constructorOf(name: string, own: Own): ConstructorValue {
  const plain = found.find((r) => r.decl.name.text === name);
  if (plain === undefined) throw new Error(`there is no router ${name}`);
  const bound = new Map<string, Given>();
  for (const { name: parameter, type, default: fallback } of plain.decl.params) {
    const key = parameter.text;
    const value = own[key] ?? (fallback === null ? usual[key] : undefined);
    if (type?.text === "router") {
      const inner = constructorOf("TopK", own);
      bound.set(key, { ...inner, bound: new Map([...inner.bound].filter(([k]) => k !== "D" && k !== "N")) });
    } else if (typeof value === "boolean") bound.set(key, { kind: "bool", value });
    else if (typeof value === "string") bound.set(key, functionNamed(value) ?? { kind: "string", value });
    else if (value !== undefined && !Number.isInteger(value)) bound.set(key, { kind: "number", value, float: true });
    else if (value !== undefined) bound.set(key, { kind: "axis", label: null, size: Dim.of(value), origin: null });
  }
  return { ...plain, bound };
}

function functionNamed(name: string): Given | null {
  for (const scope of workspace.standardScopes)
    for (const item of scope.module.items)
      if (item.kind === "fn" && item.name.text === name) return { kind: "fn", decl: item, scope };
  return null;
}

/** The tokens as the router's one input: rows of x, or ids made from their first elements. */
export function inputOf(router: TestRouter, x: readonly (readonly number[])[]): Record<string, Value> {
  const [input] = router.program.main.inputs;
  const { name, type } = input!.attrs;
  const data = type.dtype === "u32" ? x.map((row) => Math.round(Math.abs(row[0]!) * 1000)) : x.flat();
  const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T: x.length }) }));
  return { [name]: { axes, data: Float64Array.from(data) } };
}

export function routeOnOracle(router: TestRouter, x: readonly (readonly number[])[]): Record<string, Value> {
  const inputs = inputOf(router, x);
  return evaluateProgram(router.program, { inputs, params: router.params, sizes: { T: x.length } });
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
