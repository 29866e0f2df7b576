/**
 * Every recipe of the library, found by walking it, over small random models of every family that fits, against its text's meaning in plain
 * loops.
 */
import { describe, expect, test } from "vitest";
import { applyAssignments, type Value } from "../../../compiler/index.ts";
import { tinyUpcycling } from "../../../compiler/weights/upcycle/ensure.ts";
import type { UpcycleRule } from "../../../grammar/ast.ts";
import { MoeError } from "../../../grammar/index.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { plainWeights } from "../../support/plain-recipe.ts";
import { randomWeights } from "./upcycle-support.ts";

const workspace = openWorkspace();
const recipes = workspace.standard("upcycle");
const families = [
  ...new Map(
    workspace.standard("map").flatMap(({ item, scope }) => {
      const found = scope.lookup(item.model.text)!;
      return found.item.kind === "layer" ? [[item.model.text, { decl: found.item, scope: found.scope }] as const] : [];
    }),
  ),
];

const byName = new Map(families);
const pairs = workspace.standardScopes
  .flatMap((scope) => scope.module.items)
  .flatMap((item) => (item.kind === "mixture" ? [[item.model.text, item.of.text]] : []))
  .map((names) => names.map((name) => byName.get(name)!));

/** What a mixture begins with that no rule of an upcycling gives. */
function beginnings(target: string, source: string): readonly UpcycleRule[] {
  const items = workspace.standardScopes.flatMap((scope) => scope.module.items);
  return items.flatMap((item) =>
    item.kind === "mixture" && item.model.text === target && item.of.text === source ? item.rules : [],
  );
}

const compared = new Map<string, { families: number; elements: number; byHand: number }>();

describe.each(recipes.map(({ item, scope }) => ({ name: item.name.text, item, scope })))(
  "$name",
  ({ name, item, scope }) => {
    const lists = item.params.filter((p) => p.source?.count != null).length;
    const single = item.params.filter((p) => p.source !== null).length - lists;
    // What has no default are texts, one for each model of a list.
    const texts = ["a", "bc", "d"];
    const options = new Map(
      item.params.flatMap(({ name: option, source, default: initial }): [string, Value][] =>
        source !== null || initial !== null
          ? []
          : [[option.text, { kind: "list", items: texts.map((value) => ({ kind: "string", value })) }]],
      ),
    );
    const plain = new Map([...options.keys()].map((option) => [option, texts] as const));

    test("gives what its text says, for every family that fits", () => {
      const seen = { families: 0, elements: 0, byHand: 0 };
      // Models of one family, or a mixture and its dense form.
      const same = families.map(([, family]) => Array.from({ length: single + 3 * lists }, () => family));
      for (const models of [...same, ...(single === 2 && lists === 0 ? pairs : [])]) {
        let upcycling;
        try {
          upcycling = tinyUpcycling(item, scope, models, options);
        } catch (error) {
          if (!(error instanceof MoeError)) throw error;
          continue;
        }
        if (upcycling === null) continue;
        const weights = upcycling.sources.map((model, i) => randomWeights(model, i + 1));
        const found = applyAssignments(upcycling, weights);
        const more = beginnings(upcycling.target.name, upcycling.sources[0]!.name);
        const wanted = plainWeights(upcycling, weights, more, plain);
        const title = `${upcycling.sources[0]!.name} to ${upcycling.target.name}`;
        seen.families++;
        for (const [path, data] of found) {
          const own = wanted.get(path)!;
          const off = [...data.keys()].filter((i) => !(Math.abs(data[i]! - own[i]!) < 1e-12) && !Number.isNaN(own[i]));
          expect(off, `${title}: ${path}`).toEqual([]);
          seen.elements += own.length;
          seen.byHand += own.filter(Number.isNaN).length;
        }
      }
      expect(seen.families).toBeGreaterThan(0);
      // Of a recipe that clusters or looks at activations, that part.
      expect(seen.byHand).toBeLessThan(seen.elements / 2);
      compared.set(name, seen);
    });
  },
);

test("there are recipes, and most fit several families", () => {
  expect(recipes.length).toBeGreaterThan(20);
  expect([...compared.values()].filter((c) => c.families <= 2).length).toBeLessThan(recipes.length / 4);
});
