/** The process around the command line: its arguments in, its exit code out. */
import { runCommand } from "./program.ts";

// `moec ... | head` closes our stdout early; that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await runCommand(process.argv.slice(2));
