/** The standard library's routers and layers, found by walking it, made with sizes by the names of their parameters. */
import { Dim } from "../../compiler/graph/dim.ts";
import type { Program } from "../../compiler/graph/node.ts";
import type { TensorType } from "../../compiler/graph/type.ts";
import { buildProgram, listParameters, newContext } from "../../compiler/index.ts";
import type { Purpose } from "../../compiler/language/interpret/context.ts";
import { instantiate } from "../../compiler/language/interpret/instance.ts";
import type { ConstructorValue, Value as Given } from "../../compiler/language/interpret/value.ts";
import type { Builder } from "../../compiler/ops/builder.ts";
import type { LayerDecl } from "../../grammar/index.ts";
import { openWorkspace } from "../../runtime/load/modules.ts";

/** Values for sizes without a default; others are 4. */
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
  F: 7,
  G: 2,
  R: 2,
  C: 6,
  V: 11,
  S: 3,
  P: 3,
  I: 12,
  O: 9,
  rank: 3,
};

/** Values for parameters; a string that names a function of the library is that function. */
export type Own = Readonly<Record<string, number | boolean | string>>;

const workspace = openWorkspace();
const found = workspace.standardScopes.flatMap((scope) =>
  scope.module.items.flatMap((item): ConstructorValue[] =>
    item.kind === "layer" && (item.keyword === "layer" || item.keyword === "router")
      ? [{ kind: "constructor", decl: item, scope, bound: new Map() }]
      : [],
  ),
);

/** Routers, layers or both, of the whole library or of the files whose path matches. */
export function namesOf(keyword: "router" | "layer" | null = null, path = /./): readonly string[] {
  const own = found.filter(
    ({ decl, scope }) => (keyword ?? decl.keyword) === decl.keyword && path.test(scope.file.path),
  );
  return own.map(({ decl }) => decl.name.text).sort();
}

/** The parameters of a router or layer that are true or false, with what they are without being given. */
export function flagsOf(name: string): Readonly<Record<string, boolean>> {
  const params = found.find((c) => c.decl.name.text === name)?.decl.params ?? [];
  return Object.fromEntries(
    params.flatMap((p) => (p.default?.kind === "bool" ? [[p.name.text, p.default.value]] : [])),
  );
}

/** Whether a router or layer has a parameter that must be given. */
export function requires(name: string, parameter: string): boolean {
  const params = found.find((c) => c.decl.name.text === name)?.decl.params ?? [];
  return params.some((p) => p.name.text === parameter && p.default === null);
}

/** Names in the subjects of the library's `test` blocks. */
export const testedNames: ReadonlySet<string> = new Set(
  workspace.standardScopes.flatMap((scope) =>
    scope.module.items.flatMap((item) => {
      if (item.kind !== "test") return [];
      const { start, end } = item.subject.span;
      return scope.file.text.slice(start, end).match(/\w+/g) ?? [];
    }),
  ),
);

export interface Made {
  readonly program: Program;
  /** Makes nodes of the program's graph. */
  readonly b: Builder;
  /** Paths of its states. */
  readonly states: ReadonlySet<string>;
  /** Parameters that begin as one number, with it. */
  readonly constants: ReadonlyMap<string, number>;
}

/** A router or layer with the usual sizes for whatever has no default; `own` gives others. */
export function makeLayer(name: string, own: Own = {}, purpose: Purpose = "evaluate"): Made {
  const made = constructorOf(name, own);
  const ctx = newContext("build", undefined, purpose);
  const instance = instantiate(ctx, made, "", [], made.decl.span);
  if (instance === null) throw new Error(`${name}: ${ctx.bag.list.map((d) => d.message).join("; ")}`);
  const program = buildProgram(instance, ctx, inputTypes(made.decl, instance.args));
  const parameters = listParameters(instance);
  const states = new Set(parameters.flatMap((p) => (p.state ? [p.path] : [])));
  const constants = new Map(
    parameters.flatMap(({ path, init }) => {
      if (init.kind === "normal" || init.kind === "uniform") return [];
      return [[path, init.kind === "constant" ? init.value : init.kind === "ones" ? 1 : 0] as const];
    }),
  );
  return { program, b: ctx.builder, states, constants };
}

/** Inputs whose type says `..` are over time as well. */
function inputTypes(decl: LayerDecl, args: ReadonlyMap<string, Given>): ReadonlyMap<string, TensorType> {
  const time = { name: "T", size: Dim.of("T"), origin: null };
  const rest = (decl.forward?.params ?? []).flatMap(({ name, type }) => {
    if (type?.kind !== "tensor-type" || !type.axes.some((a) => a.kind === "rest")) return [];
    const axes = type.axes.flatMap((axis) => {
      const value = axis.kind === "axis" && axis.size.kind === "name" ? args.get(axis.size.name.text) : undefined;
      return value?.kind === "axis" ? [{ name: value.label!, size: value.size, origin: null }] : [];
    });
    return [[name.text, { dtype: (type.dtype?.text ?? "f32") as "f32" | "u32", axes: [time, ...axes] }] as const];
  });
  return new Map(rest);
}

/** A parameter that is a router gets the plain top-k, one that is a layer the usual feed-forward. */
function constructorOf(name: string, own: Own): ConstructorValue {
  const plain = found.find((r) => r.decl.name.text === name);
  if (plain === undefined) throw new Error(`the library has no ${name}`);
  const bound = new Map<string, Given>();
  for (const { name: parameter, type, default: fallback } of plain.decl.params) {
    const key = parameter.text;
    const value = own[key] ?? (fallback === null ? (usual[key] ?? 4) : undefined);
    if (type?.text === "router") {
      bound.set(key, without(constructorOf("TopK", own), ["D", "N"]));
    } else if (type?.text === "layer" && fallback === null) {
      bound.set(key, without(constructorOf("SwiGLU", own), ["D"]));
    } else if (typeof value === "boolean") bound.set(key, { kind: "bool", value });
    else if (typeof value === "string") bound.set(key, functionNamed(value) ?? { kind: "string", value });
    else if (value !== undefined && !Number.isInteger(value)) bound.set(key, { kind: "number", value, float: true });
    else if (value !== undefined) bound.set(key, { kind: "axis", label: null, size: Dim.of(value), origin: null });
  }
  return { ...plain, bound };
}

/** A constructor that waits for these parameters again. */
function without(made: ConstructorValue, names: readonly string[]): ConstructorValue {
  return { ...made, bound: new Map([...made.bound].filter(([name]) => !names.includes(name))) };
}

function functionNamed(name: string): Given | null {
  for (const scope of workspace.standardScopes)
    for (const item of scope.module.items)
      if (item.kind === "fn" && item.name.text === name) return { kind: "fn", decl: item, scope };
  return null;
}
