/**
 * The command `moec`: which commands there are, and how a run ends. 0: all is well. 1: a mistake of the user's, told on
 * one screen. 70 (EX_SOFTWARE): a mistake of ours, with its trace. A command's file is only loaded when it is called, so
 * that checking a file never waits for a GPU's library.
 */
import { Command, CommanderError } from "commander";
import { failure, MoeError, suggest } from "../grammar/index.ts";
import { VERSION } from "../runtime/version.ts";
import { diagnosticJson, paintError, printJson, say, showDiagnostics } from "./output.ts";

type Register = (program: Command) => void;

/** In the order of the help. */
const commands: Readonly<Record<string, () => Promise<Register>>> = {
  check: async () => (await import("./commands/check.ts")).registerCheck,
  test: async () => (await import("./commands/test.ts")).registerTest,
  fmt: async () => (await import("./commands/fmt.ts")).registerFmt,
  explain: async () => (await import("./commands/explain.ts")).registerExplain,
  inspect: async () => (await import("./commands/inspect.ts")).registerInspect,
  build: async () => (await import("./commands/build.ts")).registerBuild,
  run: async () => (await import("./commands/run.ts")).registerRun,
  eval: async () => (await import("./commands/eval.ts")).registerEval,
  route: async () => (await import("./commands/route/route.ts")).registerRoute,
  generate: async () => (await import("./commands/generate.ts")).registerGenerate,
  profile: async () => (await import("./commands/profile.ts")).registerProfile,
  train: async () => (await import("./commands/train/train.ts")).registerTrain,
  upcycle: async () => (await import("./commands/upcycle.ts")).registerUpcycle,
  import: async () => (await import("./commands/import.ts")).registerImport,
  export: async () => (await import("./commands/export.ts")).registerExport,
  why: async () => (await import("./commands/why.ts")).registerWhy,
  diff: async () => (await import("./commands/diff.ts")).registerDiff,
  devices: async () => (await import("./commands/devices.ts")).registerDevices,
};

/** A device that refuses what the compiler made: told like a mistake of the user's, and yet ours. */
const OURS: ReadonlySet<string> = new Set(["kernel/rejected", "device/invalid"]);

/** EX_SOFTWARE of sysexits.h. */
const INTERNAL = 70;

/** Runs one command line (without `node` and the script's name) and gives the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  try {
    const program = await makeProgram(args);
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return describeEnd(error, args);
  }
}

async function makeProgram(args: readonly string[]): Promise<Command> {
  const program = new Command("moec")
    .description("A language, compiler and WebGPU runtime for mixture-of-experts transformers")
    .version(VERSION)
    .option("--trace", "print a stack trace with any error")
    .exitOverride()
    .showHelpAfterError("(moec --help lists the commands)")
    .addHelpText(
      "after",
      '\nExamples:\n  moec check model.moe\n  moec generate examples/checkpoints/seed --prompt "Once"',
    );
  program.configureOutput({ outputError: (text, write) => write(paintError.red(text.trimEnd()) + "\n") });
  const wanted = args.find((arg) => !arg.startsWith("-"));
  const names = wanted !== undefined && Object.hasOwn(commands, wanted) ? [wanted] : Object.keys(commands);
  if (wanted !== undefined && names.length > 1 && wanted !== "help") refuseCommand(program, wanted);
  for (const name of names) (await commands[name]!())(program);
  for (const command of program.commands)
    command.showHelpAfterError(`(moec ${command.name()} --help shows how it is used)`);
  return program;
}

function refuseCommand(program: Command, wanted: string): void {
  program.action(() => {
    const near = suggest(wanted, Object.keys(commands));
    program.error(`error: there is no command \`${wanted}\`${near === null ? "" : `; did you mean \`${near}\`?`}`);
  });
  program.allowExcessArguments().allowUnknownOption();
}

function describeEnd(error: unknown, args: readonly string[]): number {
  // Commander has told its own story: help and version end with 0, a wrong option with 1.
  if (error instanceof CommanderError) {
    if (error.exitCode !== 0 && args.includes("--json")) printJson({ ok: false, diagnostics: [describeUsage(error)] });
    return error.exitCode;
  }
  if (error instanceof MoeError) {
    showDiagnostics(error.diagnostics);
    if (args.includes("--json")) printJson({ ok: false, diagnostics: error.diagnostics.map(diagnosticJson) });
    if (args.includes("--trace")) say(String(error.stack));
    if (!error.diagnostics.some((d) => OURS.has(d.code))) return 1;
  }
  say(
    `${paintError.red("moec failed")}: this is a mistake in moec, not in what you gave it; please report it with these lines`,
  );
  say(`moec ${VERSION}, Node ${process.versions.node}, ${process.platform} ${process.arch}: moec ${args.join(" ")}`);
  say(error instanceof Error ? String(error.stack) : String(error));
  return INTERNAL;
}

function describeUsage({ message }: CommanderError): object {
  const { diagnostics } = failure("cli/usage", message.replace(/^error: /, ""), { help: "moec --help" });
  return diagnosticJson(diagnostics[0]!);
}
