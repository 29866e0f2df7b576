import fc from "fast-check";
import * as prettier from "prettier";
import { describe, expect, test } from "vitest";
import * as plugin from "../../editor/prettier.ts";
import { format } from "../../grammar/index.ts";
import { tokenize } from "../../grammar/parse.ts";
import { parseRight, sample, strip } from "./support.ts";

const formatRight = (text: string): string => {
  const { text: formatted, diagnostics } = format({ path: "test.moe", text });
  expect(diagnostics).toEqual([]);
  return formatted;
};

const comments = (text: string): string[] => {
  const { groups } = tokenize(text);
  const all = [...(groups["comments"] ?? []), ...(groups["docs"] ?? [])];
  return all.sort((a, b) => a.startOffset - b.startOffset).map(({ image }) => image.trimEnd());
};

/** What formatting promises for any right text. */
function checkFormat(text: string): void {
  const formatted = formatRight(text);
  expect(strip(parseRight(formatted))).toEqual(strip(parseRight(text)));
  expect(comments(formatted)).toEqual(comments(text));
  expect(formatRight(formatted)).toBe(formatted);
  expect(formatted).not.toMatch(/\n\n\n|[ \t]\n/);
}

/** The sample with other spaces, line breaks and comments between its tokens, wherever the language lets them be. */
const respaced: fc.Arbitrary<string> = fc.infiniteStream(fc.nat(9)).map((choices) => {
  const { tokens, groups } = tokenize(sample);
  const pieces = [...tokens, ...(groups["docs"] ?? [])].sort((a, b) => a.startOffset - b.startOffset);
  let text = "";
  for (const [index, piece] of pieces.entries()) {
    const before = pieces[index - 1];
    if (before)
      text += chooseGap(sample.slice(before.endOffset! + 1, piece.startOffset), piece.image, choices.next().value!);
    text += piece.image;
  }
  return text;
});

function chooseGap(gap: string, next: string, choice: number): string {
  if (gap.includes("\n")) return ["\n", "\n\n\n\n", "  // note\n", "\n  // own line\n\n"][choice % 4]!;
  // On another line, these would not belong to what is before them.
  if (!/^[([{]/.test(next) && choice === 0) return "\n\n  ";
  if (!/^[([{]/.test(next) && choice === 1) return " // why\n";
  return gap === "" ? ["", " ", "\t"][choice % 3]! : [" ", "   "][choice % 2]!;
}

const { expression } = fc.letrec<{ expression: string; operand: string }>((tie) => ({
  operand: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom("x", "D'", "loss", "1", "0.5", "true", '"s"', "self"),
    tie("expression").map((inner) => `(${inner})`),
    tie("expression").map((inner) => `f(${inner}, K: ${inner})`),
    tie("expression").map((inner) => `x[${inner}].w`),
    tie("operand").map((inner) => `-${inner}`),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => `[${a} , ${b}]`),
  ),
  expression: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    tie("operand"),
    fc
      .tuple(tie("operand"), fc.constantFrom("+", "-", "*", "/", "%", "??", "and", "or", "=>"), tie("operand"))
      .map(([a, op, b]) => `${a} ${op} ${b}`),
    fc.tuple(tie("operand"), tie("operand")).map(([a, b]) => `if ${a} == ${b} then ${a} else ${b}`),
    tie("operand").map((value) => `not ${value}`),
    tie("operand").map((value) => `N of ${value}`),
  ),
}));

const statement = fc.oneof(
  expression.map((value) => `y=${value}`),
  expression.map((value) => `s,i=${value}`),
  expression.map((value) => `loss ${value}`),
  expression.map((value) => `loss(${value})`),
  expression.map((value) => `metric m=${value}`),
  expression.map((value) => `update m=${value}`),
  fc.tuple(expression, expression).map(([a, b]) => `if ${a} {\nreturn ${b} } else { y = ${b} }`),
  expression.map((value) => `for b in ${value} { x = b(x) }`),
);

const program = fc
  .tuple(fc.array(statement, { minLength: 1, maxLength: 5 }), fc.constantFrom("\n", "  ", "\n\n\n", " // note\n"))
  .map(([statements, gap]) => `fn f ( x : [ .. ] ) -> [ .. ] {${statements.join(gap)}${gap}return x }\n`);

describe("formatting", () => {
  test("keeps tree and comments of the sample however it is spaced, and is done after one run", () => {
    checkFormat(sample);
    fc.assert(fc.property(respaced, checkFormat), { numRuns: 40 });
  });

  test("keeps tree and comments of generated programs, and is done after one run", () => {
    fc.assert(fc.property(program, checkFormat), { numRuns: 150 });
  });

  test("lays out spaces, indentation, blank lines and columns", () => {
    const text = [
      "// head",
      "import {A,",
      "B as C } from 'std'".replaceAll("'", '"'),
      "",
      "",
      "layer X( D,F = 2 )",
      "where D>1",
      "{ // open",
      "a = f( x ) [0]  if not( c ) // one",
      "bcd=-x*-y // two",
      "",
      "forward(x:[T,h:2 * D])->[T] =",
      "a+b",
      "}",
      "fn g()->bool { loss (a+b)*c",
      "if a { return -1 }",
      "else { return not (a) } }",
    ].join("\n");
    expect(formatRight(text)).toMatchInlineSnapshot(`
      "// head
      import { A,
        B as C } from "std"

      layer X(D, F = 2)
        where D > 1 {  // open
        a   = f(x)[0] if not (c)  // one
        bcd = -x * -y             // two

        forward(x: [T, h: 2*D]) -> [T] =
          a + b
      }
      fn g() -> bool {
        loss (a + b) * c
        if a { return -1 } else { return not (a) }
      }
      "
    `);
  });

  test("leaves a file with errors as it is", () => {
    const text = "dim   X =\n";
    const { text: same, diagnostics } = format({ path: "a.moe", text });
    expect(same).toBe(text);
    expect(diagnostics).toHaveLength(1);
  });

  test("is what the Prettier plugin prints", async () => {
    const options = { filepath: "sample.moe", plugins: [plugin] };
    expect(await prettier.format(sample, options)).toBe(formatRight(sample));
    await expect(prettier.format("dim X =", options)).rejects.toThrow("expected an expression");
  });
});
