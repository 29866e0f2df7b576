/** Every file of the standard library and of the examples, found by walking: it checks, formats to itself, and passes its own tests. */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule, newContext, prepareTest } from "../compiler/index.ts";
import { format, renderDiagnostic } from "../grammar/index.ts";
import { openWorkspace } from "../runtime/modules.ts";
import { runTestCase } from "./support/oracle.ts";

const workspace = openWorkspace();
const examples = globSync("examples/**/*.moe")
  .sort()
  .map((path) => workspace.open({ path, text: readFileSync(path, "utf8") }));
const scopes = [...workspace.standardScopes, ...examples].map((scope) => ({ path: scope.file.path, scope }));

describe.each(scopes)("$path", ({ scope }) => {
  test("checks without a word", () => {
    expect(checkModule(workspace, scope).map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
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
