/**
 * `npm run fuzz -- programs`: `--seconds 60`, `--seed 1`, `--gpu-every 4` (0: none on a GPU), `--out DIR` for counter-examples, `--only
 * passes,gpu` for some executors.
 */
import { parseArgs } from "node:util";
import { type Executor, executors } from "./check.ts";
import { searchPrograms } from "./programs.ts";
import { hurryAdapter } from "./variants.ts";

/** Gives the exit code: 1 where something was found. */
export async function fuzzPrograms(args: readonly string[]): Promise<number> {
  const text = { type: "string" } as const;
  const options = { seconds: text, seed: text, "gpu-every": text, out: text, only: text };
  const { values } = parseArgs({ args: [...args], options });
  const only = values.only?.split(",") ?? null;
  hurryAdapter();
  const { found } = await searchPrograms({
    seconds: Number(values.seconds ?? 60),
    seed: Number(values.seed ?? 1),
    gpuEvery: Number(values["gpu-every"] ?? 4),
    out: values.out ?? null,
    print: (line) => console.log(line),
    ...(only === null ? {} : { executors: executors.filter((e): e is Executor => only.includes(e)) }),
  });
  return found.size > 0 ? 1 : 0;
}
