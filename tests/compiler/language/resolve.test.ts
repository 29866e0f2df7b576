import { describe, expect, test } from "vitest";
import { Workspace, type ModuleLoader } from "../../../compiler/index.ts";
import { checkModule } from "../../../compiler/index.ts";
import { standardLibrary } from "../../../runtime/load/modules.ts";

/** A workspace over files in memory: `./b.moe` means the file of that name. */
function workspaceOf(files: Readonly<Record<string, string>>) {
  const sources = new Map(Object.entries(files).map(([path, text]) => [path, { path, text: `edition 2026\n${text}` }]));
  const loader: ModuleLoader = {
    std: standardLibrary(),
    load: (specifier) => sources.get(specifier.replace(/^\.\//, "")) ?? null,
  };
  const workspace = new Workspace(loader);
  const check = (path: string) =>
    checkModule(workspace.open(sources.get(path)!)).map(({ code, message }) => `${code} ${message}`);
  return { workspace, check, open: (path: string) => workspace.open(sources.get(path)!) };
}

const scale = "layer Scale(D) {\n  w = param[D](ones)\n  forward(x: [T, D]) -> [T, D] = x * w\n}\n";

describe("imports", () => {
  test("a name of another file means its declaration, under an alias too", () => {
    const { check, open } = workspaceOf({
      "a.moe": `import { Scale as Weights } from "./b.moe"
layer Twice(D) {
  s = Weights(D)
  forward(x: [T, D]) -> [T, D] = s(s(x))
}`,
      "b.moe": scale,
    });
    expect(check("a.moe")).toEqual([]);
    expect(open("a.moe").lookup("Weights")?.item.name.text).toBe("Scale");
    expect(open("a.moe").lookup("Scale")).toBeNull();
  });

  test("files may import each other", () => {
    const { check } = workspaceOf({
      "a.moe": `import { half } from "./b.moe"\nfn quarter(x: [..]) -> [..] = half(half(x))\n`,
      "b.moe": `import { quarter } from "./a.moe"\nfn half(x: [..]) -> [..] = 0.5 * x\nfn eighth(x: [..]) -> [..] = half(quarter(x))\n`,
    });
    expect(check("a.moe")).toEqual([]);
    expect(check("b.moe")).toEqual([]);
  });

  test("functions that call each other across files are found to be recursive", () => {
    const { check } = workspaceOf({
      "a.moe": `import { pong } from "./b.moe"\nfn ping(x: [..]) -> [..] = pong(x)\n`,
      "b.moe": `import { ping } from "./a.moe"\nfn pong(x: [..]) -> [..] = ping(x)\n`,
    });
    expect(check("a.moe")).toEqual(["name/recursion `ping` calls itself"]);
  });

  test("a failed import is one error, however often its names are used", () => {
    const { check } = workspaceOf({
      "a.moe": `import { Scale, Shift } from "./b.moe"
layer Affine(D) {
  scale = Scale(D)
  shift = Shift(D)
  again = Shift(D)
  forward(x: [T, D]) -> [T, D] = again(shift(scale(x)))
}`,
      "b.moe": scale,
    });
    expect(check("a.moe")).toEqual(["name/no-export `./b.moe` has no `Shift`"]);
  });

  test("a name is imported once", () => {
    const { check } = workspaceOf({ "a.moe": `import { Linear, Linear } from "std"\n${scale}` });
    expect(check("a.moe")[0]).toBe("name/duplicate `Linear` is imported twice");
  });
});

describe("the standard library", () => {
  test("its functions need no import, its layers do", () => {
    const scope = workspaceOf({ "a.moe": "" }).open("a.moe");
    expect(scope.lookup("silu")?.item.kind).toBe("fn");
    expect(scope.lookup("Linear")).toBeNull();
    expect(scope.isExported("Linear")).toBe(true);
  });

  test("a declaration of one's own hides it", () => {
    const { open, check } = workspaceOf({ "a.moe": "fn silu(x: [..]) -> [..] = x\n" });
    expect(open("a.moe").lookup("silu")?.scope.file.path).toBe("a.moe");
    expect(check("a.moe")).toEqual([]);
  });

  test("all declarations of a kind are found by walking", () => {
    const { workspace } = workspaceOf({});
    const maps = workspace.standard("map").map(({ item }) => item.name.text);
    expect(maps).toContain("mixtral");
    expect(new Set(maps).size).toBe(maps.length);
    expect(workspace.standard("layer").some(({ item }) => item.keyword === "router")).toBe(true);
  });
});

test("what is wrong in an imported file is said where that file is checked", () => {
  const { check } = workspaceOf({
    "a.moe": `import { f } from "./b.moe"\nfn g(x: [..]) -> [..] = f(x)\n`,
    "b.moe": "fn f(x: [..]) -> [..] = y\n",
  });
  expect(check("b.moe")).toEqual(["name/unknown there is no name `y` here"]);
});
