/**
 * A small instance of a model, for checks that need numbers: maps are expanded over it and the contracts of upcyclings
 * are evaluated on it. Every size is small and even, counts of layers and experts are two; what the caller knows is kept.
 */
import type { LayerDecl } from "../../../grammar/ast.ts";
import { Dim } from "../../graph/dim.ts";
import { instantiate } from "../interpret/instance.ts";
import type { Value } from "../interpret/value.ts";
import type { Scope } from "../resolve/scope.ts";
import { listParameters, newContext, type Model } from "./model.ts";

/** Distinct even sizes, so that a layout that mixes two axes up does not fit by accident. */
const SIZES = [14, 2, 12, 10, 2, 4, 6, 2, 2, 8, 16, 18, 20, 22];

/** Null when no small sizes satisfy the declaration's `where` clauses. */
export function tinyModel(decl: LayerDecl, scope: Scope, known: ReadonlyMap<string, Value>): Model | null {
  for (const scale of [1, 2, 0]) {
    const bound = new Map<string, Value>();
    const sizes = decl.params.filter((p) => p.default === null && p.type === null);
    for (const param of decl.params) {
      const given = known.get(param.name.text);
      const at = sizes.indexOf(param);
      if (given !== undefined && (param.default !== null || given.kind !== "axis")) bound.set(param.name.text, given);
      else if (at >= 0) {
        const kept = known.get(param.name.text);
        const size =
          kept !== undefined
            ? Dim.of(kept.kind === "axis" ? (kept.size.value ?? 2) : 2)
            : Dim.of(scale === 0 ? 2 : SIZES[at % SIZES.length]! * scale);
        bound.set(param.name.text, { kind: "axis", label: param.name.text, size, origin: param.span });
      }
    }
    const ctx = newContext();
    const instance = instantiate(ctx, { kind: "constructor", decl, scope, bound }, "", [], decl.name.span);
    if (instance !== null && !ctx.bag.hasErrors)
      return { name: decl.name.text, instance, args: instance.args, parameters: listParameters(instance) };
  }
  return null;
}
