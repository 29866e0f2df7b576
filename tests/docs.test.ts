/**
 * The documentation's programs. A block ```moe is a whole file; blocks ```moe NAME add up to that file, which others of the
 * page may import. Each is checked, formatted as `moec fmt` would, and its tests pass.
 */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule, makeConfigured, newContext, prepareTest, Workspace } from "../compiler/index.ts";
import type { MapBinding } from "../compiler/index.ts";
import { buildProgram } from "../compiler/index.ts";
import { BUILTINS } from "../compiler/language/builtins.ts";
import { format, renderDiagnostic, type SourceFile } from "../grammar/index.ts";
import { openCheckpoint } from "../runtime/load/open-checkpoint.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { standardLibrary } from "../runtime/load/modules.ts";
import { maxDifference } from "./support/close.ts";
import { runOracle, runTestCase } from "./support/oracle.ts";

const pages = [...globSync("docs/**/*.md"), "README.md"].map((path) => path.replaceAll("\\", "/")).sort();
const edition = "edition 2026\n";

/** The files of a page: by the name in the fence, or by number. */
function filesOf(page: string): SourceFile[] {
  const files = new Map<string, string>();
  const blocks = readFileSync(page, "utf8").matchAll(/^```moe *(\S*)\n([^]*?)^```$/gm);
  for (const [i, [, name, text]] of [...blocks].entries()) {
    const key = name === "" || name === undefined ? `${page}-${i + 1}.moe` : name;
    const before = files.get(key);
    files.set(
      key,
      before === undefined ? (text!.startsWith(edition) ? text! : edition + text!) : `${before}\n${text!}`,
    );
  }
  return [...files].map(([path, text]) => ({ path, text }));
}

function openPage(files: readonly SourceFile[]): Workspace {
  const load = (specifier: string) => files.find((f) => `./${f.path}` === specifier) ?? null;
  return new Workspace({ std: standardLibrary(), load });
}

describe.each(pages.map((page) => ({ page, files: filesOf(page) })).filter(({ files }) => files.length > 0))(
  "$page",
  ({ files }) => {
    describe.each(files)("$path", (file) => {
      const workspace = openPage(files);
      const scope = workspace.open(file);

      test("checks", () => {
        expect(checkModule(scope).map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
      });

      test("is formatted", () =>
        expect(format(file).text.replace(edition, "").trim()).toBe(file.text.replace(edition, "").trim()));

      for (const item of scope.module.items) {
        if (item.kind === "test")
          test(item.title, () => expect(runTestCase(prepareTest(newContext(), scope, item)!)).toEqual([]));
        if (item.kind === "config")
          test(`config ${item.name.text} builds`, () => void buildProgram(makeConfigured(scope, item).instance));
      }
    });
  },
);

test("the pages show programs", () => {
  expect(filesOf("docs/language.md").length).toBeGreaterThan(10);
  expect(filesOf("README.md").length).toBeGreaterThan(0);
});

test("the reference names every builtin", () => {
  const page = readFileSync("docs/language.md", "utf8");
  const named = new Set(page.match(/[A-Za-z_]\w*/g));
  expect([...BUILTINS.keys()].filter((name) => !named.has(name))).toEqual([]);
});

describe("docs/write-a-router.md", () => {
  test("ends with a router that gives Mixtral's own logits in Mixtral's place", async () => {
    const files = filesOf("docs/write-a-router.md");
    const workspace = openPage(files);
    const scope = workspace.open(files.find((f) => f.path === "mine.moe")!);
    const maps = scope.module.items.flatMap((item): MapBinding[] => (item.kind === "map" ? [{ item, scope }] : []));
    const folder = "tests/fixtures/families/mixtral";
    const loaded = await loadModel(folder, workspace, maps);
    const golden = await openCheckpoint(`${folder}/golden.safetensors`);
    try {
      expect(loaded.model.name).toBe("Mine");
      const logits = await runOracle(loaded, [...(await golden.toFloat32("ids.0"))]);
      expect(maxDifference(Float32Array.from(logits), await golden.toFloat32("logits.0"))).toBeLessThan(1e-4);
    } finally {
      await golden.close();
      await loaded.checkpoint.close();
    }
  });
});
