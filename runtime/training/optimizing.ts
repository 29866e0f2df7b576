/** How a run optimizes, as texts in the language: the optimizer, its rate over the run, and what holds for some parameters alone. */
import { groupParameters, type Model, type Optimizing, readSettings, type Workspace } from "../../compiler/index.ts";

export interface OptimizingOptions {
  /** An optimizer of the library, with arguments: `AdamW(decay: 0.1)`, which is the default without them. */
  readonly optimizer?: string;
  /**
   * A number is the highest rate, default 1e-3: it rises in the first steps and falls by a cosine. A text is an expression of the step `t`, from
   * 1, and the number `of` all.
   */
  readonly rate?: number | string;
  /** Share of the steps in which it rises, where the rate is a number; default 0.05. */
  readonly warmup?: number;
  /** Gradients of a larger norm are scaled down to it; 0: none. Default 1. */
  readonly clip?: number;
  /** Paths such as `blocks[l].ffn.pick` of what alone is trained, and of what is not. */
  readonly only?: readonly string[];
  readonly frozen?: readonly string[];
  /** By path: another `rate`, `optimizer` or argument of it, as an expression: `{ "blocks[l].ffn.pick": { rate: "10 * rate" } }`. */
  readonly set?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const OPTIMIZING_DEFAULTS = { optimizer: "AdamW", rate: 1e-3, warmup: 0.05, clip: 1 } as const;

/** For `compileTraining`. Throws a `MoeError` at what is wrong with an expression or a path. */
export function readOptimizing(
  workspace: Workspace,
  model: Model,
  options: OptimizingOptions,
  steps: number,
): { readonly optimizing: Optimizing; readonly trains: (path: string) => boolean } {
  const { optimizer, rate, warmup, clip, only, frozen, set } = { ...OPTIMIZING_DEFAULTS, ...options };
  const groups = groupParameters(
    model,
    readSettings(workspace, {
      optimizer,
      rate: typeof rate === "string" ? rate : cosine(rate, Math.round(warmup * steps)),
      ...(set === undefined ? {} : { rules: set }),
      ...(only === undefined ? {} : { only }),
      ...(frozen === undefined ? {} : { frozen }),
    }),
  );
  return { optimizing: { ...groups, clip }, trains: groups.trains };
}

/** To a tenth of the highest rate at the end. Loshchilov, Hutter (2017), arXiv 1608.03983. */
function cosine(rate: number, warmup: number): string {
  const fall = `0.1 + 0.45 * (1.0 + cos(3.141592653589793 * (t - ${warmup}.0) / max(of - ${warmup}.0, 1.0)))`;
  return `${rate} * ${warmup === 0 ? `(${fall})` : `select(t < ${warmup}.0, t / ${warmup}.0, ${fall})`}`;
}
