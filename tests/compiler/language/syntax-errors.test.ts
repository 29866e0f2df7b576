/** Behind a syntax error the rest of a file is checked, and nothing is said that only follows from the error. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule, type ModuleLoader, Workspace } from "../../../compiler/index.ts";
import { format, renderDiagnostic } from "../../../grammar/index.ts";
import { tokenize } from "../../../grammar/parse.ts";
import { fileLoader, standardLibrary } from "../../../runtime/load/modules.ts";
import { Random } from "../../fuzz/random.ts";
import { readGoldenPrograms } from "../../support/golden-programs.ts";

const library = new Workspace(fileLoader);

function codesOf(text: string, path = "entry.moe"): readonly string[] {
  const file = { path, text };
  return checkModule(library.with(file).open(file)).map(({ code }) => code);
}

/** A declaration with a mistake of its own. */
const WRONG = "\nlayer Wrong(D, F) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, F] = x * w\n}\n";

test.each(readGoldenPrograms("syntax"))(
  "$path and a mistake in another declaration are told, once each",
  ({ text }) => {
    const [code, ...more] = codesOf(text);
    expect([code, more]).toEqual([expect.stringMatching(/^syntax\//), []]);
    expect(codesOf(text + WRONG)).toEqual([code, "shape/missing-axis"]);
  },
);

test("a token too many or too few anywhere in the library makes syntax errors alone", () => {
  const random = new Random(11, 0);
  const junk = [")", "(", "{", "}", "]", "= =", ";", "->", ",", "of", '"', "x y", "for", "@", "layer"];
  let broken = 0;
  for (const { path, text } of standardLibrary()) {
    const { tokens } = tokenize(text);
    for (let i = 0; i < 2; i++) {
      const { startOffset, endOffset } = random.pick(tokens);
      const rest = random.chance(0.5) ? text.slice(startOffset) : text.slice(endOffset! + 1);
      const changed = `${text.slice(0, startOffset)} ${random.chance(0.5) ? random.pick(junk) : ""} ${rest}`;
      const codes = codesOf(changed, path);
      if (!codes.some((code) => code.startsWith("syntax/"))) continue;
      broken++;
      expect([
        path,
        changed.slice(startOffset - 20, startOffset + 20),
        codes.filter((c) => !c.startsWith("syntax/")),
      ]).toEqual([path, expect.anything(), []]);
    }
  }
  expect(broken).toBeGreaterThan(100);
});

describe("what an error takes away is not missed elsewhere:", () => {
  const use =
    "layer Two(D) {\n  s = Scale(D)\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = s(x) * w\n}\nconfig two: Two { D: 4 }\n";
  test.each([
    [
      "a declaration with the error inside",
      "layer Scale(D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * * w\n}\n",
    ],
    ["one whose head cannot be read", "layer Scale(D {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * w\n}\n"],
    ["one whose keyword is misspelt", "layr Scale(D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * w\n}\n"],
    ["one without its name", "layer (D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * w\n}\n"],
    ["an import", 'import { Linear, Scale, from "std"\n'],
    [
      "a declaration that hides an import",
      'import { Linear as Scale } from "std"\nlayer Scale(D, E) {\n  w = param[D\n}\n',
    ],
    ["an alias of an import", 'import { Linear as Scale as } from "std"\n'],
    ["what a broken declaration hides from the library", "fn Scale(D) -> [D = D\n"],
  ])("%s", (_, text) => {
    expect(codesOf(`edition 2026\n${text}${use}`)).toEqual(["syntax/unexpected-token"]);
  });

  test("a size in types, of functions and of inputs", () => {
    const text =
      "edition 2026\ndim H = \nfn twice(x: [T, H]) -> [T, H] = 2 * x\nlayer A(D) {\n  w = param[H]\n  forward(x: [T, D]) -> [T, H] = w * sum[D](x)\n}\n";
    expect(codesOf(text)).toEqual(["syntax/unexpected-token"]);
  });

  test("a mixture, for the upcyclings of its file", () => {
    const text = readFileSync("stdlib/families/mixtral.moe", "utf8");
    expect(text).toMatch(/^mixture /m);
    expect(codesOf(text.replace(/^mixture (\w+)/m, "mixture $1("), "std/families/mixtral.moe")).toEqual([
      "syntax/unexpected-token",
    ]);
  });
});

test("a typing mistake beside a syntax error is still told: in a function that calls a broken one", () => {
  const text =
    "edition 2026\nfn f(x: [..]) -> [..] = x *\nfn g(x: [..]) -> [..] {\n  y = f(x)\n  return undeclared\n}\n";
  expect(codesOf(text)).toEqual(["syntax/unexpected-token", "name/unknown"]);
});

test("a mistake in one declaration hides none in another: of layers, of the other side of a switch, of maps and configurations", () => {
  const text = `edition 2026
import { Linear } from "std"

layer Bad(D, F) {
  w = param[D]
  forward(x: [T, D]) -> [T, F] = x * w
}

layer AlsoBad(D, bias = false) {
  up = Linear(D -> D)
  forward(x: [T, D]) -> [T, D] {
    if bias { return x + missing }
    return up(x)
  }
}

model M(V, D) {
  e = Linear(V -> D)
  h = Linear(D -> V)
  forward(x: [T, V]) -> f32[T, V] = f32(h(e(x)))
}
map m: M {
  config { V <-> v  D <-> d }
  e.w <-> "e"
}
config c: M { V: 4 E: 6 }
test "b" for Bad(2, 3) { w = [1, 1] x = [[1, 1]] expect close(out, [[1, 1]]) }
`;
  expect(codesOf(text)).toEqual(["shape/missing-axis", "name/unknown", "map/unmapped", "name/no-parameter"]);
  expect(codesOf(text.replace("import {", "dim H = 4 +\nimport {"))).toEqual([
    "syntax/unexpected-token",
    "shape/missing-axis",
    "name/unknown",
    "map/unmapped",
    "name/no-parameter",
  ]);
});

test("a file that is broken is not formatted", () => {
  const broken = "dim H =\ndim  D = 4\n";
  const { text, diagnostics } = format({ path: "a.moe", text: broken });
  expect([text, diagnostics.length]).toEqual([broken, 1]);
});

describe("an import from a file with an error is told at the import, once", () => {
  const workspaceOf = (files: Readonly<Record<string, string>>) => {
    const sources = new Map(
      Object.entries(files).map(([path, text]) => [path, { path, text: `edition 2026\n${text}` }]),
    );
    const loader: ModuleLoader = {
      std: standardLibrary(),
      load: (name) => sources.get(name.replace("./", "")) ?? null,
    };
    return (path: string) => checkModule(new Workspace(loader).open(sources.get(path)!));
  };
  const good = "layer Good(D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * w\n}\n";
  const broken = "layer Bad(D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = x * * w\n}\n";
  const use =
    "layer Two(D) {\n  g = Good(D)\n  b = Bad(D)\n  forward(x: [T, D]) -> [T, D] = g(b(x))\n}\nconfig c: Two { D: 4 }\n";

  test("with what is wrong there", () => {
    const check = workspaceOf({ "a.moe": `import { Good, Bad } from "./b.moe"\n${use}`, "b.moe": good + broken });
    expect(check("a.moe").map((d) => renderDiagnostic(d, { color: false }))).toEqual([
      `error[name/broken-import]: \`./b.moe\` has an error, so not all that is imported from it is known
 --> a.moe:2:27
  |
2 | import { Good, Bad } from "./b.moe"
  |                           ^^^^^^^^^ imported here
 ::: b.moe:8:38
  |
8 |   forward(x: [T, D]) -> [T, D] = x * * w
  |                                      - expected an expression, found \`*\`
  = help: put b.moe right first: \`moec check\` says all that is wrong in it`,
    ]);
  });

  test("when it is whole files further on, and in a circle", () => {
    const check = workspaceOf({
      "a.moe": `import { Good } from "./b.moe"\nlayer Own(D) {\n  g = Good(D)\n  forward(x: [T, D]) -> [T, D] = g(x)\n}\n`,
      "b.moe": `import { Bad } from "./c.moe"\n${good}layer Uses(D) {\n  b = Bad(D)\n  forward(x: [T, D]) -> [T, D] = b(x)\n}\n`,
      "c.moe": `import { Own } from "./a.moe"\n${broken}layer Round(D) {\n  o = Own(D)\n  forward(x: [T, D]) -> [T, D] = o(x)\n}\n`,
    });
    expect(check("a.moe").map((d) => d.code)).toEqual(["name/broken-import"]);
    expect(check("b.moe").map((d) => d.code)).toEqual(["name/broken-import"]);
    expect(check("c.moe").map((d) => d.code)).toEqual(["syntax/unexpected-token"]);
  });

  test("when an import of that file failed", () => {
    const check = workspaceOf({
      "a.moe": `import { Good } from "./b.moe"\nlayer Own(D) {\n  g = Good(D)\n  forward(x: [T, D]) -> [T, D] = g(x)\n}\n`,
      "b.moe": `import { Nothing } from "std"\n${good}`,
    });
    expect(check("a.moe").map((d) => d.code)).toEqual(["name/broken-import"]);
  });
});
