/** The process around the command line: its arguments in, its exit code out. */
import { watchOutput } from "./broken-output.ts";
import { runCommand } from "./program.ts";

const args = process.argv.slice(2);
watchOutput(args);
process.exitCode = await runCommand(args);
