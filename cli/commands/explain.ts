/** `moec explain`: an entry of ERRORS.md, which holds for every code what it means, a failing program and a fixed one. */
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { failure, suggest } from "../../grammar/index.ts";
import { readTextIfAny } from "../../runtime/files/read.ts";
import { paint, print, printJson, table } from "../output.ts";

export function registerExplain(program: Command): void {
  program
    .command("explain")
    .description("say what an error code means and how to mend it; without a code, list them all")
    .argument("[code]", "as in the brackets of a message, e.g. shape/axis-mismatch")
    .option("--json", "print the entry, or all, as JSON")
    .addHelpText("after", "\nExample:\n  moec explain shape/axis-mismatch")
    .action(runExplain);
}

interface Entry {
  readonly code: string;
  readonly text: string;
}

function runExplain(code: string | undefined, options: { readonly json?: true }): void {
  const entries = readEntries();
  if (code === undefined) {
    if (options.json) printJson(entries);
    else print(table(entries.map((e) => [paint.bold(e.code), firstSentence(e.text)])));
    return;
  }
  const entry = entries.find((e) => e.code === code);
  if (entry === undefined) {
    const near = suggest(
      code,
      entries.map((e) => e.code),
    );
    throw failure("cli/unknown-code", `there is no error code \`${code}\``, {
      help: near === null ? "`moec explain` lists them" : `did you mean \`${near}\`?`,
    });
  }
  if (options.json) printJson(entry);
  else print(`${paint.bold(entry.code)}\n\n${entry.text}`);
}

function readEntries(): readonly Entry[] {
  const [index] = ["../../ERRORS.md", "../../../ERRORS.md"].flatMap(
    (path) => readTextIfAny(fileURLToPath(new URL(path, import.meta.url))) ?? [],
  );
  if (index === undefined)
    throw failure("cli/no-index", "ERRORS.md is missing from this installation", { help: "install moec again" });
  const parts = index.split(/^#+ `?([a-z]+\/[a-z0-9-]+)`?$/m).slice(1);
  return parts.flatMap((part, i) =>
    i % 2 === 0 ? [{ code: part, text: (parts[i + 1] ?? "").split(/^## /m)[0]!.trim() }] : [],
  );
}

const firstSentence = (text: string): string =>
  (text.split(/\n\s*\n/)[0] ?? "").replaceAll("\n", " ").split(/(?<=\.) /)[0] ?? "";
