/** The programs of ERRORS.md: those that fail do so with their entry's code, and mended they pass, warnings and tests included. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule, newContext, prepareTest, type Scope } from "../compiler/index.ts";
import { renderDiagnostic } from "../grammar/index.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { runTestCase } from "./support/oracle.ts";

interface Entry {
  readonly code: string;
  readonly fails: string;
  readonly fixed: string;
}

const index = readFileSync("ERRORS.md", "utf8");
const entries = index
  .split(/^### /m)
  .slice(1)
  .flatMap((text): Entry[] => {
    const block = (kind: string) => new RegExp(`^\`\`\`moe ${kind}\n([^]*?)^\`\`\``, "m").exec(text)?.[1];
    const [fails, fixed] = [block("fails"), block("fixed")];
    return fails === undefined || fixed === undefined ? [] : [{ code: text.split("\n")[0]!, fails, fixed }];
  });

const openText = (text: string): Scope => openWorkspace().open({ path: "entry.moe", text: `edition 2026\n${text}` });

describe.each(entries)("$code", ({ code, fails, fixed }) => {
  test("the failing program fails with it", () => {
    expect(checkModule(openText(fails))[0]?.code).toBe(code);
  });

  test("the mended program has nothing wrong", () => {
    const scope = openText(fixed);
    expect(checkModule(scope).map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
    for (const item of scope.module.items) {
      if (item.kind === "test") expect(runTestCase(prepareTest(newContext(), scope, item)!)).toEqual([]);
    }
  });
});

test("the index at the top has a link to every entry, in order", () => {
  const [top] = index.split(/^## /m);
  const links = [...top!.matchAll(/\[[\w-]+\]\(#([a-z]+[a-z0-9-]+)\)/g)].map((m) => m[1]);
  const headings = [...index.matchAll(/^### (\S+)$/gm)].map((m) => m[1]!.replace("/", ""));
  expect(links.filter((link) => headings.includes(link!))).toEqual(headings);
});

test("most codes of the language show a program", () => expect(entries.length).toBeGreaterThan(70));
