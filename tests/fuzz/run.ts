/**
 * `npm run fuzz -- programs --seconds 600 --seed 1`: searches at random for what the tests do not know yet. Each subject is one row; options
 * are `--name value`.
 */
import { type Executor, executors } from "./programs/check.ts";

type Options = Readonly<Record<string, string>>;

/** Gives the number of kinds of faults that were found. */
const subjects: Readonly<Record<string, (options: Options) => Promise<number>>> = {
  /** Programs: `--gpu-every 4` (0: none on a GPU), `--out DIR` for counter-examples, `--only passes,gpu`. */
  programs: async (options) => {
    // A software adapter spends its time on compiling: less of its optimizer is more programs.
    process.env["GALLIVM_PERF"] ??= "nopt";
    process.env["LP_NATIVE_VECTOR_WIDTH"] ??= "128";
    const { fuzzPrograms } = await import("./programs/programs.ts");
    const only = options["only"]?.split(",") ?? null;
    const { found } = await fuzzPrograms({
      seconds: numberOf(options, "seconds", 60),
      seed: numberOf(options, "seed", 1),
      gpuEvery: numberOf(options, "gpu-every", 4),
      out: options["out"] ?? null,
      print: (line) => console.log(line),
      ...(only === null ? {} : { executors: executors.filter((e): e is Executor => only.includes(e)) }),
    });
    return found.size;
  },
};

function numberOf(options: Options, name: string, otherwise: number): number {
  const text = options[name];
  const number = text === undefined ? otherwise : Number(text);
  if (!Number.isFinite(number)) throw new Error(`--${name} takes a number, not ${text}`);
  return number;
}

function optionsOf(args: readonly string[]): Options {
  const pairs = args.flatMap((arg, i) => (arg.startsWith("--") ? [[arg.slice(2), args[i + 1] ?? ""]] : []));
  return Object.fromEntries(pairs) as Options;
}

const [subject = "", ...args] = process.argv.slice(2);
const run = subjects[subject];
if (run === undefined) {
  console.error(`fuzz what? ${Object.keys(subjects).join(", ")}`);
  process.exit(1);
}
process.exit((await run(optionsOf(args))) > 0 ? 1 : 0);
