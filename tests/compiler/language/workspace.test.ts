/** An edited file makes another workspace: it parses that file, binds what imports it, and shares the rest. */
import { describe, expect, test, vi } from "vitest";
import { checkModule, type ModuleLoader, type Scope, Workspace } from "../../../compiler/index.ts";
import type { SourceFile } from "../../../grammar/span.ts";
import { standardLibrary } from "../../../runtime/load/modules.ts";

const parsed = vi.hoisted((): string[] => []);
vi.mock(import("../../../grammar/parse.ts"), async (original) => {
  const real = await original();
  return {
    ...real,
    parse: (file: SourceFile) => {
      parsed.push(file.path);
      return real.parse(file);
    },
  };
});

/** Files on a disk: each reading gives an object of its own. */
function openDisk(files: Record<string, string>): {
  readonly workspace: Workspace;
  readonly disk: Record<string, string>;
} {
  const loader: ModuleLoader = {
    std: standardLibrary(),
    load: (name) => {
      const path = name.replace("./", "");
      return files[path] === undefined ? null : { path, text: files[path] };
    },
  };
  return { workspace: new Workspace(loader), disk: files };
}

const layer = (name: string, body = "x * w"): string =>
  `layer ${name}(D) {\n  w = param[D]\n  forward(x: [T, D]) -> [T, D] = ${body}\n}\n`;
const user = (name: string, from: string): string =>
  `import { ${from} } from "./${from.toLowerCase()}.moe"\nlayer ${name}(D) {\n  inner = ${from}(D)\n  forward(x: [T, D]) -> [T, D] = inner(x)\n}\n`;

/** `top` imports `middle`, which imports `base`; `apart` imports nothing. */
const files = () => ({
  "top.moe": user("Top", "Middle"),
  "middle.moe": user("Middle", "Base"),
  "base.moe": layer("Base"),
  "apart.moe": layer("Apart"),
});

const codes = (scope: Scope): readonly string[] => checkModule(scope).map((d) => d.code);

describe("Workspace.with", () => {
  test("parses the edited file alone; scopes are kept where nothing of it is imported", () => {
    const { workspace, disk } = openDisk(files());
    const open = (w: Workspace, path: string): Scope => w.open({ path, text: disk[path]! });
    const before = Object.fromEntries(Object.keys(disk).map((path) => [path, open(workspace, path)]));
    for (const scope of Object.values(before)) expect(codes(scope)).toEqual([]);
    parsed.length = 0;

    const edited = { path: "middle.moe", text: `${disk["middle.moe"]!}// edited\n` };
    const next = workspace.with(edited);
    const after = Object.fromEntries(
      Object.keys(disk).map((path) => [path, path === edited.path ? next.open(edited) : open(next, path)]),
    );
    for (const scope of Object.values(after)) expect(codes(scope)).toEqual([]);
    expect(parsed).toEqual(["middle.moe"]);
    expect(Object.keys(disk).filter((path) => after[path] === before[path])).toEqual(["base.moe", "apart.moe"]);
    expect(after["top.moe"]!.module).toBe(before["top.moe"]!.module);
    expect(after["top.moe"]!.imports.get("./middle.moe")).toBe(after["middle.moe"]);
  });

  test("importers see the new text, and the old workspace goes on with the old", () => {
    const { workspace, disk } = openDisk(files());
    const top = { path: "top.moe", text: disk["top.moe"]! };
    const worse = workspace.with({ path: "base.moe", text: "layer Bse(D) {\n  forward(x: [T, D]) -> [T, D] = x\n}\n" });
    expect(codes(worse.open(top))).toEqual(["name/broken-import"]);
    expect(codes(workspace.open(top))).toEqual([]);
    const better = worse.with({ path: "base.moe", text: layer("Base", "x + w") });
    expect(codes(better.open(top))).toEqual([]);
    expect(codes(worse.open(top))).toEqual(["name/broken-import"]);
  });

  test("a file that appears is found by those that missed it", () => {
    const { workspace, disk } = openDisk({ "top.moe": user("Top", "Middle") });
    const top = { path: "top.moe", text: disk["top.moe"]! };
    expect(codes(workspace.open(top))).toEqual(["name/no-module"]);
    const middle = { path: "middle.moe", text: layer("Middle") };
    disk["middle.moe"] = "";
    expect(codes(workspace.with(middle).open(top))).toEqual([]);
  });

  test("a file of the library is edited for everyone, and only it is parsed again", () => {
    const { workspace } = openDisk({});
    const text =
      'import { Linear } from "std"\nlayer Own(D) {\n  up = Linear(D -> D)\n  forward(x: [T, D]) -> [T, D] = up(x)\n}\n';
    const own = { path: "own.moe", text };
    expect(codes(workspace.open(own))).toEqual([]);
    const linear = workspace.open(own).lookup("Linear")!.scope.file;
    parsed.length = 0;
    const next = workspace.with({
      ...linear,
      text: linear.text.replace(/layer Linear\(I -> O/, "layer Linear(I -> O, needed"),
    });
    expect(codes(next.open(own))).toEqual(["type/missing-argument"]);
    expect(parsed).toEqual([linear.path]);
    expect(codes(workspace.open(own))).toEqual([]);
  });

  test("many edits leave no more behind than one: diagnostics are those of the text", () => {
    const { workspace } = openDisk({});
    let now = workspace;
    for (let i = 0; i < 50; i++) now = now.with({ path: "a.moe", text: `dim A = ${i}\ndim A = ${i}\ndim B =` });
    const last = { path: "a.moe", text: "dim A = 1\ndim A = 2\n" };
    expect(
      now
        .with(last)
        .open(last)
        .diagnostics.map((d) => d.code),
    ).toEqual(["name/duplicate"]);
  });
});

describe("Workspace.open", () => {
  test("two texts under one path have a scope each", () => {
    const { workspace } = openDisk({});
    const [a, b] = ["dim A = 1\n", "dim B = 1\n"].map((text) => workspace.open({ path: "a.moe", text }));
    expect([a!.names().includes("A"), b!.names().includes("A"), b!.names().includes("B")]).toEqual([true, false, true]);
  });

  test("one text that is read twice is parsed once", () => {
    const { workspace, disk } = openDisk(files());
    parsed.length = 0;
    for (let i = 0; i < 3; i++) workspace.open({ path: "top.moe", text: disk["top.moe"]! });
    workspace.open({ path: "base.moe", text: disk["base.moe"]! });
    expect(parsed).toEqual(["top.moe", "middle.moe", "base.moe"]);
  });
});
