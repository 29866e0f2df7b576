/** Every layer and router of the standard library, found by walking it, as a program with small sizes. */
import { Dim } from "../../compiler/graph/dim.ts";
import type { Program } from "../../compiler/graph/node.ts";
import type { TensorType } from "../../compiler/graph/type.ts";
import { buildProgram, listParameters, newContext, type Scope } from "../../compiler/index.ts";
import { instantiate } from "../../compiler/interpret/instance.ts";
import type { Value as Given } from "../../compiler/interpret/value.ts";
import type { Builder } from "../../compiler/ops/builder.ts";
import type { LayerDecl } from "../../grammar/index.ts";
import { renderDiagnostic } from "../../grammar/index.ts";
import { openWorkspace } from "../../runtime/modules.ts";

export interface LibraryLayer {
  readonly name: string;
  readonly scope: Scope;
  readonly item: LayerDecl;
}

export const libraryLayers: readonly LibraryLayer[] = openWorkspace().standardScopes.flatMap((scope) =>
  scope.module.items.flatMap((item) =>
    item.kind === "layer" && item.keyword !== "model" ? [{ name: item.name.text, scope, item }] : [],
  ),
);

const sizes: Readonly<Record<string, number>> = {
  N: 6,
  K: 2,
  Z: 2,
  G: 2,
  R: 2,
  I: 3,
  O: 5,
  capacity: 2,
  groups: 3,
  kept: 2,
};

export interface MadeLayer {
  readonly program: Program;
  /** Makes nodes of the program's graph. */
  readonly b: Builder;
  /** Paths of its states. */
  readonly states: ReadonlySet<string>;
}

/** Sizes without a default are small; a layer or router to be made inside is a SwiGLU or a top-2. */
export function makeLayer({ name, scope, item }: LibraryLayer): MadeLayer {
  const ctx = newContext();
  const bound = new Map(item.params.flatMap((p) => (p.default === null ? [[p.name.text, argument(p)] as const] : [])));
  const instance = instantiate(ctx, { kind: "constructor", decl: item, scope, bound }, "", [], item.span);
  if (instance === null)
    throw new Error(`${name}: ${ctx.bag.list.map((d) => renderDiagnostic(d, { color: false })).join("")}`);
  const program = buildProgram(instance, ctx, inputTypes(item, instance.args));
  const states = new Set(listParameters(instance).flatMap((p) => (p.state ? [p.path] : [])));
  return { program, b: ctx.builder, states };
}

function argument({ name, type }: LayerDecl["params"][number]): Given {
  const inner = type?.text === "router" ? "TopK" : type?.text === "layer" ? "SwiGLU" : null;
  if (inner === null) return { kind: "axis", label: null, size: Dim.of(sizes[name.text] ?? 4), origin: null };
  const { scope, item } = libraryLayers.find((f) => f.name === inner)!;
  const size: Given = { kind: "axis", label: null, size: Dim.of(inner === "TopK" ? 2 : 3), origin: null };
  return { kind: "constructor", decl: item, scope, bound: new Map([[inner === "TopK" ? "K" : "F", size]]) };
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
