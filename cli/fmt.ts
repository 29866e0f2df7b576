/** `moec fmt`: the one layout of the language, written back or only compared. */
import type { Command } from "commander";
import { format, MoeError } from "../grammar/index.ts";
import { readSource } from "../runtime/modules.ts";
import { findMoeFiles } from "./files.ts";
import { plural, print, say } from "./output.ts";
import { writeWhole } from "./write.ts";

export function registerFmt(program: Command): void {
  program
    .command("fmt")
    .description("lay out .moe files; a file with syntax errors is left alone")
    .argument("<file...>", "files or folders")
    .option("--check", "change nothing; exit with 1 and name the files that would change")
    .addHelpText("after", "\nExample:\n  moec fmt --check stdlib examples")
    .action(runFmt);
}

function runFmt(paths: readonly string[], options: { readonly check?: true }): void {
  const files = findMoeFiles(paths);
  const changed = files.filter((path) => {
    const source = readSource(path);
    const { text, diagnostics } = format(source);
    const errors = diagnostics.filter((d) => d.severity === "error");
    if (errors.length > 0) throw new MoeError(errors);
    if (text === source.text) return false;
    if (!options.check) writeWhole(path, [text]);
    return true;
  });
  for (const path of changed) print(path);
  const verb = options.check ? "would change" : "changed";
  say(`${plural(changed.length, "file")} of ${files.length} ${verb}`);
  if (options.check && changed.length > 0) process.exitCode = 1;
}
