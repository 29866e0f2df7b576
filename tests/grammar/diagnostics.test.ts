import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderDiagnostic, suggest, type Diagnostic, type SourceFile } from "../../grammar/index.ts";

const span = (file: SourceFile, piece: string) => {
  const start = file.text.indexOf(piece);
  return { file, start, end: start + piece.length };
};

describe("rendering", () => {
  const file: SourceFile = { path: "block.moe", text: "layer A(D) {\n  a = f(D)\n\n  b = g(a)\n\ty = a + b\n}\n" };
  const other: SourceFile = { path: "std/f.moe", text: "fn f(x: [F]) -> [F] = x" };
  const diagnostic: Diagnostic = {
    code: "shape/axis-mismatch",
    severity: "error",
    message: "axis `D` is 48 here and 64 there",
    labels: [
      { span: span(file, "a + b"), text: "these must agree" },
      { span: span(file, "f(D)"), text: "`D` is 48" },
      { span: span(other, "[F]"), text: "and 64 here" },
    ],
    notes: ["`D` comes from `config tiny`\nand from `config big`"],
    help: "rename one of the axes",
  };

  test("shows every labelled line, in several files, then notes and help", () => {
    expect(renderDiagnostic(diagnostic, { color: false })).toMatchInlineSnapshot(`
      "error[shape/axis-mismatch]: axis \`D\` is 48 here and 64 there
       --> block.moe:5:6
        |
      2 |   a = f(D)
        |       ---- \`D\` is 48
      ...
      5 |     y = a + b
        |         ^^^^^ these must agree
       ::: std/f.moe:1:9
        |
      1 | fn f(x: [F]) -> [F] = x
        |         --- and 64 here
        |
        = note: \`D\` comes from \`config tiny\`
                and from \`config big\`
        = help: rename one of the axes"
    `);
  });

  test("colour adds escapes and nothing else", () => {
    const colored = renderDiagnostic(diagnostic, { color: true });
    expect(colored).toContain("\u001b[1;31m");
    expect(stripVTControlCharacters(colored)).toBe(renderDiagnostic(diagnostic, { color: false }));
  });

  test("names of any length and any characters fit on a screen and say nothing to the terminal", () => {
    const text = `dim \u001b[2Jx\u0007 = y`;
    const hostile = { path: "a\u001b]0;b.moe", text };
    const shown = renderDiagnostic(
      {
        ...diagnostic,
        message: `there is no \`${"x".repeat(100_000)}\``,
        labels: [{ span: span(hostile, "y"), text: `not \u202e${"y".repeat(5000)}` }],
        notes: [Array.from({ length: 5000 }, (_, i) => `name${i}`).join(", "), "a\u0000b"],
      },
      { color: false },
    );
    expect(shown.length).toBeLessThan(4000);
    // oxlint-disable-next-line no-control-regex
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(shown).toContain("note: a\\u0000b");
    const [source, marks] = shown.split("\n").slice(3, 5);
    expect(marks!.indexOf("^")).toBe(source!.indexOf("y"));
  });

  test("a place at the end of the file, several lines and no place at all have a picture too", () => {
    const at = (start: number, end: number): string =>
      renderDiagnostic(
        { ...diagnostic, severity: "warning", labels: [{ span: { file, start, end }, text: "" }], notes: [] },
        { color: false },
      );
    expect(at(file.text.length, file.text.length)).toMatchInlineSnapshot(`
      "warning[shape/axis-mismatch]: axis \`D\` is 48 here and 64 there
       --> block.moe:7:1
        |
      7 |
        | ^
        = help: rename one of the axes"
    `);
    expect(at(0, file.text.length)).toMatchInlineSnapshot(`
      "warning[shape/axis-mismatch]: axis \`D\` is 48 here and 64 there
       --> block.moe:1:1
        |
      1 | layer A(D) {
        | ^^^^^^^^^^^^
        = help: rename one of the axes"
    `);
    expect(renderDiagnostic({ ...diagnostic, labels: [] }, { color: false })).toMatchInlineSnapshot(`
      "error[shape/axis-mismatch]: axis \`D\` is 48 here and 64 there
        = note: \`D\` comes from \`config tiny\`
                and from \`config big\`
        = help: rename one of the axes"
    `);
  });
});

describe("suggestions", () => {
  test.each([
    ["norm", ["norm1", "attn"], "norm1"],
    ["fowrard", ["forward", "for"], "forward"],
    ["gaet", ["gate", "up"], "gate"],
    ["routr", ["layer", "router"], "router"],
    ["xyz", ["abc"], null],
    ["d", ["D", "F"], "D"],
    ["d", ["F"], null],
    ["gate", ["gate"], null],
    ["softmaxx", ["softplus", "softmax"], "softmax"],
  ])("%s among %j is %s", (name, candidates, expected) => {
    expect(suggest(name, candidates)).toBe(expected);
  });

  test("a name of 6000 characters is compared with nothing", () => {
    const never = {
      [Symbol.iterator](): Iterator<string> {
        throw new Error("compared");
      },
    };
    expect(suggest("d".repeat(6000), never)).toBe(null);
  });

  test("one slip in a longer word is always found", () => {
    const word = fc.stringMatching(/^[a-z]{4,10}$/);
    const slip = fc.tuple(word, fc.nat(9), fc.constantFrom("drop", "double", "swap"));
    fc.assert(
      fc.property(slip, ([right, seed, kind]) => {
        const at = seed % (right.length - 1);
        const [head, a, b, tail] = [right.slice(0, at), right[at]!, right[at + 1]!, right.slice(at + 2)];
        const wrong = { drop: head + b + tail, double: head + a + a + b + tail, swap: head + b + a + tail }[kind]!;
        expect(suggest(wrong, ["zzzzzzzzzzzzzzzz", right])).toBe(wrong === right ? null : right);
      }),
    );
  });
});
