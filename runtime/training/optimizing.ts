/** How a run optimizes, as texts in the language: the optimizer, its rate over the run, and what holds for some parameters alone. */
import { join } from "node:path";
import { groupParameters, type Model, type Optimizing, readSettings, type Workspace } from "../../compiler/index.ts";
import { readText } from "../files/read.ts";
import { standardLibraryFolder } from "../load/modules.ts";

export interface OptimizingOptions {
  /** An optimizer in scope, with arguments, such as `AdamW(decay: 0.1)`. Default, as of the next three: that of the library. */
  readonly optimizer?: string;
  /** The highest rate, or an expression of the step `t`, from 1, and `steps`, how many there are. */
  readonly rate?: number | string;
  /** A factor of the rate over the run, an expression of `t` and `steps`: `cosine_decay(t, steps, warmup: 100)`, `1`. */
  readonly schedule?: string;
  /** Gradients of a larger norm are scaled down to it; 0: none. */
  readonly clip?: number;
  /** Paths such as `blocks[l].ffn.pick` of what alone is trained, and of what is not. */
  readonly only?: readonly string[];
  readonly frozen?: readonly string[];
  /** By path: another `rate`, `optimizer` or argument of it, as an expression: `{ "blocks[l].ffn.pick": { rate: "10 * rate" } }`. */
  readonly set?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface OptimizingDefaults {
  readonly optimizer: string;
  readonly rate: string;
  readonly schedule: string;
  readonly clip: number;
}

let defaults: OptimizingDefaults | null = null;

/** How the standard library would optimize what nothing else is known of. */
export function optimizingDefaults(): OptimizingDefaults {
  const path = join(standardLibraryFolder(), "optim", "defaults.json");
  return (defaults ??= JSON.parse(readText(path)) as OptimizingDefaults);
}

/** For `compileTraining`. Throws a `MoeError` at what is wrong with an expression or a path. */
export function readOptimizing(
  workspace: Workspace,
  model: Model,
  options: OptimizingOptions,
): { readonly optimizing: Optimizing; readonly trains: (path: string) => boolean } {
  const { optimizer, rate, schedule, clip, only, frozen, set } = { ...optimizingDefaults(), ...options };
  const groups = groupParameters(
    model,
    readSettings(workspace, {
      optimizer,
      rate: `(${rate}) * (${schedule})`,
      ...(set === undefined ? {} : { rules: set }),
      ...(only === undefined ? {} : { only }),
      ...(frozen === undefined ? {} : { frozen }),
    }),
  );
  return { optimizing: { ...groups, clip }, trains: groups.trains };
}
