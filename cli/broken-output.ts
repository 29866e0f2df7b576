/**
 * What happens when nobody takes what is printed. A reader that stops early (`moec ... | head`) is no failure, a disk that is full is
 * one. Commands that make files go on to their end either way, since those are wanted all the same; others have nothing left to do.
 */
import { failure } from "../grammar/index.ts";
import { FileError } from "../runtime/files/error.ts";
import { showDiagnostics } from "./output.ts";

const MAKING_FILES = new Set(["build", "export", "fmt", "import", "route", "run", "upcycle"]);

export function watchOutput(args: readonly string[]): void {
  const goesOn = MAKING_FILES.has(args.find((arg) => !arg.startsWith("-")) ?? "");
  let isTold = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    const isQuiet = error.code === "EPIPE";
    if (!isQuiet && !isTold) {
      isTold = true;
      const { reason, help } = new FileError({ code: error.code ?? "", syscall: "write" });
      showDiagnostics(failure("cli/cannot-write", `cannot write to stdout: ${reason}`, { help }).diagnostics);
      process.once("exit", () => (process.exitCode ||= 1));
    }
    if (!goesOn) process.exit(isQuiet ? 0 : 1);
  });
  // There is nowhere left to tell of it; the exit code stays.
  process.stderr.on("error", () => undefined);
}
