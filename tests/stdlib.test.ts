/** Every file of the standard library and of the examples, found by walking: it checks, formats to itself, and passes its own tests. */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule, newContext, prepareTest } from "../compiler/index.ts";
import { Dim } from "../compiler/graph/dim.ts";
import { tinyModel } from "../compiler/language/model/tiny.ts";
import { format, renderDiagnostic } from "../grammar/index.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { runTestCase } from "./support/oracle.ts";

const workspace = openWorkspace();
const examples = globSync("examples/**/*.moe")
  .sort()
  .map((path) => workspace.open({ path, text: readFileSync(path, "utf8") }));
const scopes = [...workspace.standardScopes, ...examples].map((scope) => ({ path: scope.file.path, scope }));

describe.each(scopes)("$path", ({ scope }) => {
  test("checks without a word", () => {
    expect(checkModule(scope).map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
  });

  test("is formatted", () => {
    const formatted = format(scope.file);
    expect(formatted.text).toBe(scope.file.text);
  });

  for (const item of scope.module.items) {
    if (item.kind !== "test") continue;
    test(item.title, () => {
      const ctx = newContext();
      const prepared = prepareTest(ctx, scope, item);
      expect(ctx.bag.list).toEqual([]);
      expect(runTestCase(prepared!)).toEqual([]);
    });
  }
});

test("the library is there, and it tests itself", () => {
  const items = scopes.flatMap(({ scope }) => scope.module.items);
  expect(scopes.length).toBeGreaterThan(20);
  expect(items.filter((item) => item.kind === "test").length).toBeGreaterThan(10);
});

/** Families of which a small model has a parameter with `text` in its path. */
function familiesWith(text: string): string[] {
  const models = workspace.standard("map").map(({ item, scope }) => scope.lookup(item.model.text)!);
  const names = models.flatMap(({ item, scope }) => {
    if (item.kind !== "layer") return [];
    // One query per head, which one family asks for.
    const one = { kind: "axis", label: "R", size: Dim.of(1), origin: item.span } as const;
    const model = tinyModel(item, scope, new Map()) ?? tinyModel(item, scope, new Map([["R", one]]));
    // What is made of models has the parts of those.
    if (model === null && item.params.some((p) => p.type?.text === "model")) return [];
    return model!.parameters.some((p) => p.path.includes(text)) ? [model!.name] : [];
  });
  return [...new Set(names)].sort();
}

test("every family calls the parts of its blocks alike, so that one upcycling fits many", () => {
  const all = familiesWith("");
  expect(all.length).toBeGreaterThan(15);
  expect(familiesWith("blocks[0].attn.")).toEqual(all);
  const [dense, mixtures] = [familiesWith("blocks[0].mlp."), familiesWith("blocks[0].ffn.")];
  expect([...dense, ...mixtures].sort()).toEqual(all);
  expect(familiesWith(".ffn.pick.")).toEqual(mixtures);
  expect(familiesWith(".ffn.experts.")).toEqual(mixtures);
});
