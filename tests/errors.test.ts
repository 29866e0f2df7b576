/**
 * Golden messages: `tests/errors/<layer>/<code>.moe` is what a newcomer might write, and its first diagnostic has that code;
 * `<code>.expected.txt` is all that is said about it. `<code>--case.moe` shows another way to the same code.
 * After changing a message: `MOEC_UPDATE=1 npx vitest run tests/errors.test.ts`, and read the difference.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule } from "../compiler/index.ts";
import type { Diagnostic } from "../grammar/index.ts";
import { renderDiagnostic } from "../grammar/index.ts";
import { openWorkspace } from "../runtime/load/modules.ts";

const folder = "tests/errors";
const programs = globSync(`${folder}/**/*.moe`)
  .map((path) => path.replaceAll("\\", "/").slice(folder.length + 1))
  .sort();

describe.each(programs)("%s", (path) => {
  const file = { path, text: readFileSync(`${folder}/${path}`, "utf8") };
  const diagnostics = checkFile(file);

  test("is told its own code first", () => {
    expect(diagnostics[0]?.code).toBe(path.replace(/(--.*)?\.moe$/, ""));
  });

  test("is told what it was told before", () => {
    const golden = `${folder}/${path.replace(/moe$/, "expected.txt")}`;
    const text = diagnostics.map((d) => `${renderDiagnostic(d, { color: false })}\n`).join("\n");
    if (process.env["MOEC_UPDATE"] !== undefined) writeFileSync(golden, text);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });

  test("is told one thing, in one sentence, with a place and a way out", () => {
    expect(diagnostics).toHaveLength(1);
    for (const { message, labels, help } of diagnostics) {
      expect(message).toMatch(/^[^A-Z].*[^.]$/);
      expect(labels[0]?.span.file.path).toBe(path);
      expect(labels.length > 1 || help !== null).toBe(true);
    }
  });
});

test("there are programs, and each golden file has one", () => {
  const goldens = globSync(`${folder}/**/*.expected.txt`).map((p) => p.replaceAll("\\", "/").slice(folder.length + 1));
  expect(programs.length).toBeGreaterThan(60);
  expect(goldens.sort()).toEqual(programs.map((p) => p.replace(/moe$/, "expected.txt")).sort());
});

function checkFile(file: { path: string; text: string }): readonly Diagnostic[] {
  const workspace = openWorkspace();
  return checkModule(workspace.open(file));
}
