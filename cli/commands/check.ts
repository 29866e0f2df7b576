/** `moec check`: every mistake of the files given, found without running them. */
import type { Command } from "commander";
import { checkModule } from "../../compiler/index.ts";
import { openFile, openWorkspace } from "../../runtime/load/modules.ts";
import { findMoeFiles } from "../files.ts";
import { diagnosticJson, paintError, plural, printJson, say, showDiagnostics } from "../output.ts";

export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("check syntax, names, shapes, maps and upcyclings; folders are searched for .moe files")
    .argument("<file...>", "files or folders")
    .option("--json", "print the diagnostics as JSON")
    .addHelpText("after", "\nExample:\n  moec check router.moe examples/")
    .action(runCheck);
}

function runCheck(paths: readonly string[], options: { readonly json?: true }): void {
  const workspace = openWorkspace();
  const files = findMoeFiles(paths);
  const found = files.flatMap((path) => checkModule(openFile(workspace, path)));
  const errors = found.filter((d) => d.severity === "error").length;
  if (options.json) printJson({ ok: errors === 0, files, diagnostics: found.map(diagnosticJson) });
  else {
    if (found.length > 0) showDiagnostics(found);
    const warnings = found.length - errors;
    const counts = [
      ...(errors > 0 ? [plural(errors, "error")] : []),
      ...(warnings > 0 ? [plural(warnings, "warning")] : []),
    ];
    const verdict = errors > 0 ? paintError.red("failed") : paintError.green("ok");
    say(
      `${found.length > 0 ? "\n" : ""}${verdict}: ${plural(files.length, "file")} checked${counts.length > 0 ? `, ${counts.join(", ")}` : ""}`,
    );
  }
  if (errors > 0) process.exitCode = 1;
}
