import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "../../grammar/index.ts";
import { errorsOf, sample } from "./support.ts";

describe("errors", () => {
  test("an error in one declaration hides neither the next one nor its errors", () => {
    const text = "layer A(D { x = 1 }\nfn f(x) = x\ndim = 3\ndim H = 4\n";
    expect(errorsOf(text)).toEqual([
      "1:11 syntax/unexpected-token expected `,` or `)`, found `{`",
      "2:9 syntax/unexpected-token expected `->` and a result type, found `=`",
      "3:5 syntax/unexpected-token expected a name, found `=`",
    ]);
    expect(parse({ path: "a.moe", text }).module.items.map(({ kind }) => kind)).toEqual(["dim"]);
  });

  test("several statements of one body are each reported", () => {
    const text = [
      "fn f(x: [..]) -> [..] {",
      "  y = g(x,",
      "        3 +, 4)",
      "  retrun y",
      "  for b blocks { z = b( }",
      "  return y",
      "}",
    ].join("\n");
    expect(errorsOf(text)).toEqual([
      "3:12 syntax/unexpected-token expected an expression, found `,`",
      "4:10 syntax/unexpected-token expected `=`, found `y` | did you mean `return`?",
      "5:9 syntax/unexpected-token expected `in`, found `blocks`",
    ]);
  });

  test("a misspelt keyword is met with a suggestion", () => {
    expect(errorsOf("routr A() { forward() -> [D] = x }")).toEqual([
      "1:1 syntax/unexpected-token expected a declaration such as `fn` or `layer`, found `routr` | did you mean `router`?",
    ]);
    expect(errorsOf("layer A() { forwrad() -> [D] = x }")).toEqual([
      "1:20 syntax/unexpected-token expected `=`, found `(` | did you mean `forward`?",
    ]);
  });

  test("a missing brace is reported where the next declaration begins, with the brace that is open", () => {
    const text = "layer A() {\n  forward() -> [D] = x\ndim H = 3";
    expect(errorsOf(text)).toEqual(["3:1 syntax/unclosed-block expected `}`, found `dim` | add `}` to end the block"]);
    const { diagnostics, module } = parse({ path: "a.moe", text });
    expect(diagnostics[0]!.labels[1]!.span.start).toBe(10);
    expect(module.items.map(({ kind }) => kind)).toEqual(["layer", "dim"]);
  });

  test.each([
    ["dim X = a < b < c", "1:15 syntax/chained-comparison comparisons do not chain | join two comparisons with `and`"],
    [
      "dim X = 1;",
      "1:10 syntax/unknown-character `;` does not belong to the language | statements need no separator: remove `;`",
    ],
    ['test "abc', '1:6 syntax/unterminated-string this string has no end | add the closing `"`'],
    [
      'import { a } from "a\\q"',
      '1:19 syntax/unknown-escape `\\q` is not an escape | the escapes are `\\"`, `\\\\`, `\\n` and `\\t`',
    ],
    [
      "layer A() { }",
      "1:7 syntax/missing-forward layer `A` has no `forward` | add `forward(x: [T, D]) -> [T, D] = ...`",
    ],
    [
      "layer A() { forward() -> [D] = x forward() -> [D] = x }",
      "1:34 syntax/duplicate-forward layer `A` has two `forward`s | keep one of them",
    ],
    ["dim X =", "1:8 syntax/unexpected-token expected an expression, found the end of the file"],
  ])("%s", (text, expected) => {
    expect(errorsOf(text)).toEqual([expected]);
  });

  test("deep nesting is an error, not an overflow", () => {
    const depth = 100_000;
    expect(errorsOf(`dim X = ${"(".repeat(depth)}1${")".repeat(depth)}`)).toEqual([
      "1:1 syntax/too-deep this is nested more than 500 deep | give parts of it names of their own: `a = ...`, then `b = ... a ...`",
    ]);
    expect(errorsOf("dim X = 1")).toEqual([]);
  });

  test.each([
    ["a sum of 3000 terms", `dim X = 1${" + 1".repeat(3000)}`],
    ["3000 signs", `dim X = ${"-".repeat(3000)}1`],
    ["3000 conditions", `dim X = ${"if true then 1 else ".repeat(3000)}2`],
  ])("%s are too deep for what walks the tree", (_, text) => {
    expect(errorsOf(text).map((e) => e.split(" ")[1])).toEqual(["syntax/too-deep"]);
  });

  test("what is not too deep is read", () => {
    expect(errorsOf(`dim X = ${"(".repeat(400)}1${")".repeat(400)}`)).toEqual([]);
    expect(errorsOf(`dim X = 1${" + 1".repeat(400)}`)).toEqual([]);
  });

  test("a file of more than four million characters is not read", () => {
    expect(errorsOf(`// ${"x".repeat(2 ** 22)}`)).toEqual([
      "1:1 syntax/too-long this file has 4194307 characters, and a file of the language has at most 4194304 | split it, and `import` one file from the other; weights belong into safetensors files",
    ]);
  });
});

describe("whatever the text", () => {
  const check = (text: string): void => {
    const { diagnostics } = parse({ path: "any.moe", text });
    for (const { labels } of diagnostics) {
      for (const { span } of labels) {
        expect(span.start).toBeLessThanOrEqual(span.end);
        expect(span.end).toBeLessThanOrEqual(text.length);
      }
    }
  };

  test("parsing the sample with a piece cut out or put in ends, and points into the file", () => {
    const cut = fc.tuple(
      fc.nat(sample.length),
      fc.nat(30),
      fc.constantFrom("", "{", "}", "(", "]", '"', "layer", "=", "of ", "\n"),
    );
    fc.assert(
      fc.property(cut, ([at, length, put]) => check(sample.slice(0, at) + put + sample.slice(at + length))),
      { numRuns: 150 },
    );
  });

  test("parsing a soup of words ends, and points into the file", () => {
    const words = [...new Set(sample.match(/\w+|[^\s\w]+/g))];
    const soup = fc.array(fc.constantFrom(...words, "\n"), { maxLength: 60 });
    fc.assert(
      fc.property(soup, (pieces) => check(pieces.join(" "))),
      { numRuns: 150 },
    );
    fc.assert(fc.property(fc.string(), check), { numRuns: 100 });
  });
});
