/** `moec import`: a configuration of mergekit-moe as a `.moe` file, and the command that makes its model. */
import { isFolder } from "../../runtime/files/read.ts";
import { createFile } from "../../runtime/files/replace.ts";
import { lookAt } from "../../runtime/files/target.ts";
import type { Command } from "commander";
import { failure } from "../../grammar/index.ts";
import { chooseArchitecture } from "../../runtime/mergekit/architecture.ts";
import { type MergekitConfig, readMergekit } from "../../runtime/mergekit/config.ts";
import { makeGate } from "../../runtime/mergekit/gate.ts";
import { writeRecipe } from "../../runtime/mergekit/recipe.ts";
import { settleSettings } from "../../runtime/mergekit/settings.ts";
import { readSource } from "../../runtime/load/modules.ts";
import { print, printJson, say } from "../output.ts";

interface Options {
  readonly out?: string;
  readonly json?: true;
}

export function registerImport(program: Command): void {
  program
    .command("import")
    .description("turn a configuration of mergekit-moe into an upcycling with the same result")
    .argument("<file>", "the YAML file")
    .option("--out <file>", "the .moe file to write (default: beside the YAML file, with its name)")
    .option("--json", "print the path, the command that comes next, and models that are not here, as JSON")
    .addHelpText("after", "\nExample:\n  moec import mixture.yml --out mixture.moe")
    .action(runImport);
}

async function runImport(path: string, options: Options): Promise<void> {
  const config = readMergekit(readSource(path));
  const { architecture, isGuess } = await chooseArchitecture(config);
  const out = options.out ?? `${path.replace(/\.ya?ml$/i, "")}.moe`;
  const title = out
    .split(/[\\/]/)
    .at(-1)!
    .replace(/\.moe$/, "");
  if (lookAt(out) !== null)
    throw failure("cli/file-exists", `${out} exists already`, { help: "give another name with --out, or remove it" });
  const differing = await settleSettings(config, architecture);
  const { text, sources } = writeRecipe(config, architecture, await makeGate(config, architecture), differing, title);
  createFile(out, [text]);
  const command = commandOf(out, title, sources, config);
  const missing = sources.filter((source) => !isFolder(source));
  if (options.json) {
    printJson({ out, target: architecture.target, command, missing });
    return;
  }
  say(`wrote ${out}`);
  if (isGuess) say(`taken to be of ${architecture.bases.join(" or ")}; else say \`architecture:\` in ${path}`);
  if (differing.length > 0)
    say(`the models differ in ${differing.map((d) => d.name).join(", ")}: taken as ${config.base.value} has it`);
  for (const source of missing) say(`${source} is no folder here: put that of the model in its place`);
  print(command.map(quote).join(" "));
}

function commandOf(
  out: string,
  title: string,
  sources: readonly string[],
  { dtype }: MergekitConfig,
): readonly string[] {
  const stored = dtype === null ? [] : ["--dtype", dtype];
  return ["moec", "upcycle", out, "--from", ...sources, "--out", title, ...stored];
}

/** As a POSIX shell reads it. */
function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
