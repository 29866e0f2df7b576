/**
 * Parameters of a `test` block: set whole (`w = ...`), or one layer of a stack (`blocks[0].w`) and one expert of a bank
 * (`experts[1].up.w`) at a time; an index that is a name stands for all. What is not set starts as its initialiser says, if that is no chance.
 */
import type { Expr } from "../../../grammar/ast.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Env } from "../interpret/context.ts";
import { report } from "../interpret/context.ts";
import type { Instance } from "../interpret/value.ts";
import { type Found, resolvePath } from "../../weights/map/path.ts";
import { listParameters, type ModelParameter } from "../model/model.ts";
import type { Value as ArrayValue } from "../../ops/define.ts";

/** A literal: nested lists of numbers, all of one shape. */
export interface Literal {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** `path = literal`; `name` is the path as it is written. */
export interface ParameterSet {
  readonly path: Expr;
  readonly name: string;
  readonly literal: Literal;
  readonly span: Span;
}

/** A parameter while it is being set: which elements have been, and by what. */
interface Filling {
  readonly parameter: ModelParameter;
  readonly data: Float64Array;
  readonly by: (ParameterSet | undefined)[];
}

/** The values of all parameters by path; null after reporting what is missing, unknown, or does not fit. `inputs` are names for suggestions. */
export function parameterValues(
  env: Env,
  instance: Instance,
  sets: readonly ParameterSet[],
  inputs: readonly string[],
  span: Span,
): ReadonlyMap<string, ArrayValue> | null {
  const parameters = listParameters(instance);
  const fillings = new Map<string, Filling>();
  for (const parameter of parameters) {
    const elements = parameter.axes.reduce((n, a) => n * a.size, 1);
    if (elements > LIMITS.tested) return reportLarge(env, parameter, elements, span);
    fillings.set(parameter.path, { parameter, data: new Float64Array(elements), by: Array(elements) });
  }
  for (const set of sets) {
    const found = findParameters(env, instance, set, [...inputs, ...fillings.keys()]);
    if (found === null || !found.every((f) => fill(env, fillings.get(f.path)!, set, f))) return null;
  }
  for (const filling of fillings.values()) if (!startRest(env, filling, span)) return null;
  return new Map([...fillings].map(([path, { parameter, data }]) => [path, { axes: parameter.axes, data }]));
}

type FoundParameter = Extract<Found, { kind: "parameter" }>;

function findParameters(
  env: Env,
  instance: Instance,
  { path, name, span }: ParameterSet,
  known: readonly string[],
): readonly FoundParameter[] | null {
  const bag = new DiagnosticBag();
  const start = { indices: new Map<string, number>(), layers: new Map<string, number>() };
  const found = resolvePath({ ...env, ctx: { ...env.ctx, bag } }, instance, path, start);
  const [first] = bag.list;
  if (first !== undefined && name.includes("[")) env.ctx.bag.add(first);
  else if (first !== undefined || found.length === 0) {
    const near = suggest(name, known);
    report(
      env,
      "name/unknown",
      `the subject has no parameter or input \`${name}\``,
      span,
      "set here",
      near === null
        ? `it has ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", ..." : ""}`
        : `did you mean \`${near}\`?`,
    );
  } else if (found.some((f) => f.kind === "layer"))
    report(
      env,
      "map/not-a-parameter",
      `a test sets parameters, and \`${name}\` is a layer`,
      span,
      "set here",
      `name its parameter, such as \`${name}.w\``,
    );
  else return found as readonly FoundParameter[];
  return null;
}

/** Puts a literal where a path says: into all elements, or those of one index along each bank that has one. */
function fill(env: Env, { parameter, data, by }: Filling, set: ParameterSet, { path, banks }: FoundParameter): boolean {
  const shape = parameter.axes.flatMap((a) => (banks.has(a.name) ? [] : [a.size]));
  const { literal, span } = set;
  if (String(literal.shape) !== String(shape)) {
    report(
      env,
      "shape/axis-mismatch",
      `\`${set.name}\` has shape [${shape.join(", ")}] and is given [${literal.shape.join(", ")}]`,
      span,
      "set here",
      null,
      [{ span: parameter.span, text: "declared here" }],
    );
    return false;
  }
  const places = placesOf(parameter, banks);
  const before = by[places[0] ?? 0];
  if (before !== undefined) {
    report(
      env,
      "name/bound-twice",
      `\`${path}\` is set twice`,
      span,
      "set again here",
      "remove one of them",
      before.span === span ? [] : [{ span: before.span, text: "first set here" }],
    );
    return false;
  }
  places.forEach((place, i) => {
    data[place] = literal.data[i]!;
    by[place] = set;
  });
  return true;
}

/** Of the elements that are left where some banks have an index, in order, their places in the parameter. */
function placesOf({ axes }: ModelParameter, banks: ReadonlyMap<string, number>): readonly number[] {
  return axes.reduce<readonly number[]>(
    (places, { name, size }) => {
      const index = banks.get(name);
      return index === undefined
        ? places.flatMap((at) => Array.from({ length: size }, (_, i) => at * size + i))
        : places.map((at) => at * size + index);
    },
    [0],
  );
}

/** What is not set starts as declared; reports a parameter whose start is left to chance. */
function startRest(env: Env, { parameter, data, by }: Filling, span: Span): boolean {
  const { init, axes, path } = parameter;
  const missing = by.findIndex((set) => set === undefined);
  if (missing < 0) return true;
  const constant = init.kind === "constant" ? init.value : init.kind === "ones" ? 1 : init.kind === "zeros" ? 0 : null;
  if (constant !== null) {
    for (let i = 0; i < data.length; i++) if (by[i] === undefined) data[i] = constant;
    return true;
  }
  const partly = by.some((set) => set !== undefined);
  report(
    env,
    "type/missing-argument",
    `the test does not set ${partly ? "all of " : ""}the parameter \`${path}\``,
    span,
    "in this test",
    partly
      ? "set what is left of it: a line for every index, or one for the whole"
      : `write \`${path} = [...]\` with shape [${axes.map((a) => a.size).join(", ")}]`,
    [{ span: parameter.span, text: "declared here" }],
  );
  return false;
}

function reportLarge(env: Env, { path, span }: ModelParameter, elements: number, test: Span): null {
  report(
    env,
    "shape/too-large",
    `\`${path}\` would have ${elements} elements, and a test computes with at most ${LIMITS.tested}`,
    test,
    "in this test",
    "test the layer at smaller sizes",
    [{ span, text: "declared here" }],
  );
  return null;
}
