/** Values on the command line. */
import { expect, test } from "vitest";
import { parseParam } from "../../cli/value.ts";
import { toJson } from "../../compiler/weights/map/config-value.ts";

const read = (text: string): unknown => toJson(parseParam(`p=${text}`).get("p")!);

test.each<[string, unknown]>([
  ["8", 8],
  ["-1.5e-3", -0.0015],
  ["true", true],
  ["none", null],
  ["every other", "every other"],
  ["[]", []],
  ["[1, 3]", [1, 3]],
  ["[.5,none,false,last half]", [0.5, null, false, "last half"]],
  ['["def f(x):", "a, b"]', ["def f(x):", "a, b"]],
  ['[["a]", "[b"], "c", [1, [2]]]', [["a]", "[b"], "c", [1, [2]]]],
  ['"a \\"quoted\\" text"', 'a "quoted" text'],
  ['["1", "two\nlines"]', ["1", "two\nlines"]],
])("%s", (text, expected) => {
  expect(read(text)).toEqual(expected);
});

test.each(["[1, 2", "[1] 2", '["a" "b"]', '"a', "[1,, 2]", '["a]', "[1]]", '["\\q"]'])("%s is refused", (text) => {
  expect(() => read(text)).toThrow(/cannot be read|escape/);
});

test("whole numbers are sizes", () => {
  expect(parseParam("n=[2, 2.0]").get("n")).toMatchObject({ items: [{ float: false }, { float: true }] });
});
