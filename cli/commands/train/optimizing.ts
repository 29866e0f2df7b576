/** How a run optimizes, as its command line says: the optimizer, its rate over the run, and what holds for some parameters alone. */
import { type Command, InvalidArgumentError } from "commander";
import { optimizingDefaults, type OptimizingOptions } from "../../../runtime/training/optimizing.ts";
import { parseNumber } from "../../options.ts";

export interface OptimizingFlags {
  readonly optimizer: string;
  readonly rate: string;
  readonly schedule: string;
  readonly clip: number;
  readonly only?: readonly string[];
  readonly frozen?: readonly string[];
  readonly set?: readonly Setting[];
}

export function addOptimizingOptions(command: Command): Command {
  const { optimizer, rate, schedule, clip } = optimizingDefaults();
  return command
    .option("--optimizer <call>", "an optimizer of the standard library, with arguments in parentheses", optimizer)
    .option(
      "--rate <rate>",
      "the highest learning rate, or an expression of `t`, the step, and `steps`, how many there are",
      rate,
    )
    .option(
      "--schedule <factor>",
      "what the rate is multiplied with, an expression of `t` and `steps`; 1: nothing",
      schedule,
    )
    .option("--clip <norm>", "scale gradients down to this norm; 0: never", parseNumber(), clip)
    .option("--only <path...>", "train nothing but these parameters, such as blocks[l].ffn.pick")
    .option("--frozen <path...>", "do not train these parameters")
    .option(
      "--set <path.name=value...>",
      "another rate, optimizer or argument of it for some parameters: norm.decay=0, blocks[l].ffn.pick.rate=10*rate",
      (text: string, before: readonly Setting[] = []) => [...before, parseSetting(text)],
    );
}

export function readOptimizingFlags({
  optimizer,
  rate,
  schedule,
  clip,
  only,
  frozen,
  set = [],
}: OptimizingFlags): OptimizingOptions {
  const rules: Record<string, Record<string, string>> = {};
  for (const { path, name, value } of set) (rules[path] ??= {})[name] = value;
  return {
    ...{ optimizer, rate, schedule, clip, set: rules },
    ...(only === undefined ? {} : { only }),
    ...(frozen === undefined ? {} : { frozen }),
  };
}

interface Setting {
  readonly path: string;
  readonly name: string;
  readonly value: string;
}

function parseSetting(text: string): Setting {
  const [, path, name, value] = /^(.+)\.([A-Za-z_]\w*)=(.+)$/.exec(text) ?? [];
  if (path === undefined || name === undefined || value === undefined)
    throw new InvalidArgumentError("It must be a path, a name and a value, such as norm.decay=0.");
  return { path, name, value };
}
