/** `moec fmt`: the one layout of the language, written back or only compared. */
import type { Command } from "commander";
import { format, MoeError } from "../../grammar/index.ts";
import { readBytes, recode } from "../../runtime/files/read.ts";
import { replaceFile } from "../../runtime/files/replace.ts";
import { realpath } from "../../runtime/files/system.ts";
import { sourceOf } from "../../runtime/load/modules.ts";
import { findMoeFiles } from "../files.ts";
import { plural, print, say } from "../output.ts";

export function registerFmt(program: Command): void {
  program
    .command("fmt")
    .description("lay out .moe files; a file with syntax errors is left alone")
    .argument("<file...>", "files or folders")
    .option("--check", "change nothing; exit with 1 and name the files that would change")
    .addHelpText("after", "\nExample:\n  moec fmt --check stdlib examples")
    .action(runFmt);
}

/** All files are read before one is written: a mistake in the last leaves the first alone. */
function runFmt(paths: readonly string[], options: { readonly check?: true }): void {
  const files = findMoeFiles(paths);
  const apart = [...new Map(files.map((path) => [recode("cli/no-file", () => realpath(path)), path])).values()];
  const changed = apart.map(layOut).filter(({ before, after }) => Buffer.compare(before, after) !== 0);
  for (const { path, before, after } of changed) {
    if (!options.check) replaceFile(path, [after], { expected: before });
    print(path);
  }
  const verb = options.check ? "would change" : "changed";
  say(`${plural(changed.length, "file")} of ${files.length} ${verb}`);
  if (options.check && changed.length > 0) process.exitCode = 1;
}

interface LaidOut {
  readonly path: string;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

const MARK = "\uFEFF";

/** How lines end, and the mark that some editors put in front, stay as they are. */
function layOut(path: string): LaidOut {
  const before = recode("cli/no-file", () => readBytes(path));
  const source = sourceOf(path, before);
  const { text, diagnostics } = format(source);
  const errors = diagnostics.filter((d) => d.severity === "error");
  if (errors.length > 0) throw new MoeError(errors);
  const lines = /^[^\n]*\r\n/.test(source.text) ? text.replaceAll("\n", "\r\n") : text;
  const isMarked = before[0] === 0xef && before[1] === 0xbb && before[2] === 0xbf;
  return { path, before, after: new TextEncoder().encode(isMarked ? `${MARK}${lines}` : lines) };
}
