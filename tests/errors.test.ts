/**
 * Golden messages: the first diagnostic of each program in `tests/errors/` has the code that the file is called by, and what the file ends
 * with is all that is said about it.
 * After changing a message: `MOEC_UPDATE=1 npx vitest run tests/errors.test.ts`, and read the difference.
 */
import { describe, expect, test } from "vitest";
import { checkModule } from "../compiler/index.ts";
import type { Diagnostic } from "../grammar/index.ts";
import { renderDiagnostic } from "../grammar/index.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { readGoldenPrograms, writeGolden } from "./support/golden-programs.ts";

const programs = readGoldenPrograms();

describe.each(programs)("$path", (program) => {
  const { path } = program;
  const diagnostics = checkFile(program);

  test("is told its own code first", () => {
    expect(diagnostics[0]?.code).toBe(path.replace(/(--.*)?\.moe$/, ""));
  });

  test("is told what it was told before", () => {
    const said = diagnostics.map((d) => `${renderDiagnostic(d, { color: false })}\n`).join("\n");
    if (process.env["MOEC_UPDATE"] !== undefined) writeGolden(program, said);
    else expect(program.said).toBe(said);
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

test("there are programs", () => expect(programs.length).toBeGreaterThan(60));

function checkFile(file: { path: string; text: string }): readonly Diagnostic[] {
  const workspace = openWorkspace();
  return checkModule(workspace.open(file));
}
