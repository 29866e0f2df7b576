/** What the tests of recipes share: small models, random weights, plain matrices, the function of a model. */
import {
  applyAssignments,
  buildProgram,
  evaluateProgram,
  expandUpcycle,
  type Model,
  newContext,
  type Scope,
  type Upcycling,
  type Value,
} from "../../../compiler/index.ts";
import type { Purpose } from "../../../compiler/language/interpret/context.ts";
import { fillInit } from "../../../compiler/language/model/init.ts";
import type { UpcycleDecl } from "../../../grammar/ast.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { findItem, modelOf, openRight } from "../../support/programs.ts";

export type Weights = ReadonlyMap<string, Float64Array>;
type Option = number | boolean | string | null | readonly Option[];
export type Options = Readonly<Record<string, Option>>;

export const [V, L, D, F] = [7, 2, 4, 16];
const sizes = `V: ${V}  L: ${L}  D: ${D}  F: ${F}  G: 1  R: 2  C: 2`;

/** A model of a family of the library. */
export const modelFrom = (name: string, more = ""): Model =>
  modelOf(`import { ${name} } from "std"\nconfig c: ${name} { ${sizes} ${more} }\n`);
export const mixture = modelFrom("Mixtral", "N: 3  K: 2");

const workspace = openWorkspace();

export interface Recipe {
  readonly item: UpcycleDecl;
  readonly scope: Scope;
}

export const recipe = (name: string): Recipe => workspace.standard("upcycle").find((u) => u.item.name.text === name)!;

/** The upcycling of a text. */
export function recipeOf(text: string): Recipe {
  const scope = openRight(text);
  return { item: findItem(scope, "upcycle"), scope };
}

const valueOf = (value: Option): Value =>
  value === null
    ? { kind: "none" }
    : typeof value === "boolean"
      ? { kind: "bool", value }
      : typeof value === "string"
        ? { kind: "string", value }
        : typeof value === "number"
          ? { kind: "number", value, float: !Number.isInteger(value) }
          : { kind: "list", items: value.map(valueOf) };

export const valuesOf = (options: Options): ReadonlyMap<string, Value> =>
  new Map(Object.entries(options).map(([name, value]) => [name, valueOf(value)]));

export const count = (axes: readonly { readonly size: number }[]): number => axes.reduce((n, a) => n * a.size, 1);

export function randomWeights(model: Model, seed: number): Weights {
  return new Map(
    model.parameters.map(({ path, axes }) => {
      const data = new Float64Array(count(axes));
      fillInit({ kind: "normal", std: 0.5, seed }, path, 0, data);
      return [path, data];
    }),
  );
}

export interface Made {
  readonly plan: Upcycling;
  readonly sources: readonly Weights[];
  readonly target: Weights;
}

export function make(
  from: string | Recipe,
  models: readonly Model[],
  options: Options = {},
  to: string | null = null,
  sources: readonly Weights[] = models.map((m, i) => randomWeights(m, i + 1)),
): Made {
  const { item, scope } = typeof from === "string" ? recipe(from) : from;
  const plan = expandUpcycle(item, scope, models, valuesOf(options), to);
  return { plan, sources, target: applyAssignments(plan, sources) };
}

/** Matrix `n` of a bank, as rows. */
export function matrixOf(weights: Weights, path: string, rows: number, columns: number, n = 0): number[][] {
  const data = weights.get(path)!;
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => data[(n * rows + i) * columns + j]!),
  );
}

export function logits(model: Model, weights: Weights, purpose: Purpose = "evaluate"): ArrayLike<number> {
  const program = buildProgram(model.instance, newContext("build", undefined, purpose));
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const name = program.main.inputs[0]!.attrs.name;
  return evaluateProgram(program, {
    inputs: { [name]: { axes: [{ name: "T", size: 5 }], data: Float64Array.of(1, 6, 4, 2, 0) } },
    params: (path) => ({ axes: axes.get(path)!, data: weights.get(path)! }),
    sizes: { T: 5 },
  })["logits"]!.data;
}

export const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

/** How far the function of what was made is from that of a source. */
export const change = ({ plan, sources, target }: Made, source = 0): number =>
  worst(logits(plan.target, target), logits(plan.sources[source]!, sources[source]!));
