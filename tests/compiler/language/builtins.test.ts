/** The table of builtins is what calls are held to. */
import { describe, expect, test } from "vitest";
import { BUILTINS } from "../../../compiler/index.ts";
import { mostArguments } from "../../../compiler/language/builtins.ts";
import { diagnose } from "../../support/programs.ts";

const functions = [...BUILTINS].filter(([, row]) => row.kind === "function");

/** A layer with this expression. */
const using = (expr: string): string => `layer A(D) {\n  forward(x: [T, D]) -> [T, D] = ${expr}\n}\n`;

const told = (expr: string): readonly string[] => diagnose(using(expr)).map((d) => d.split(" ")[1]!);

test.each([...BUILTINS])("%s says what it is in one sentence", (_, { doc }) => {
  expect(doc).toMatch(/^[^A-Z].*[^.]$/);
});

describe.each(functions)("%s", (name, row) => {
  const brackets = row.brackets === null ? "" : `[${row.brackets.includes("->") ? "D -> D" : "D"}]`;

  test("can be called", () => {
    expect(told(`${name}${brackets}()`)).not.toContain("type/not-callable");
  });

  test("takes no more arguments than it has", () => {
    const most = mostArguments(row);
    if (most === null || name === "within") return;
    expect(told(`${name}${brackets}(${Array.from({ length: most + 1 }, () => "x").join(", ")})`)).toEqual([
      "type/too-many-arguments",
    ]);
  });

  test("takes no option that it does not have", () => {
    if (name === "within") return;
    expect(told(`${name}${brackets}(x, unheard: 1)`)).toEqual(["name/no-parameter"]);
  });

  test("takes axes only where they mean something", () => {
    if (row.brackets !== null || name === "within") return;
    expect(told(`${name}[D](x)`)).toEqual(["type/no-brackets"]);
  });
});
