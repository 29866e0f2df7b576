/**
 * How many dispatches the parts of a layer take in an entry of a plan. A dispatch belongs to the last member of the layer whose
 * parameters it reads; one that reads none (choices grouped by expert, results added up, keys appended) to the part before it.
 */
import type { Dispatch, Plan } from "../../compiler/plan/plan.ts";

/** The layers of a stack that share their kernels. */
export interface LayerDispatches {
  /** Path of the stack, `blocks`. */
  readonly stack: string;
  readonly layers: readonly number[];
  /** In the order in which they run. */
  readonly parts: readonly PartDispatches[];
}

export interface PartDispatches {
  /** A member of the layer, `ffn`. */
  readonly part: string;
  readonly dispatches: number;
  /** Whether a parameter of its has a bank of experts, and whether it keeps states between steps. */
  readonly hasExperts: boolean;
  readonly keepsState: boolean;
}

/** Empty for an entry that the plan has not, or that has no stack. */
export function countDispatches(plan: Plan, entry: string): readonly LayerDispatches[] {
  const banked = new Set(
    plan.parameters.flatMap((p) => (p.layout.kind === "matrix" && p.layout.bank.length > 0 ? [p.path] : [])),
  );
  const steps = plan.entries.find((e) => e.name === entry)?.steps ?? [];
  return steps.flatMap((step): LayerDispatches[] => {
    if (step.kind !== "repeat") return [];
    const paths = step.steps.flatMap(parametersOf);
    const stack = paths.find((path) => path.includes(HOLE))?.split(HOLE)[0];
    const isBanked = (path: string): boolean => banked.has(path.replace("#", `${step.indices[0]}`));
    return stack === undefined ? [] : [{ stack, layers: step.indices, parts: partsOf(step.steps, isBanked) }];
  });
}

/** Stands for the layer in the paths of a repeated step. */
const HOLE = "[#].";

function partsOf(steps: readonly Dispatch[], isBanked: (path: string) => boolean): readonly PartDispatches[] {
  const found = new Map<string, PartDispatches>();
  let part = "";
  for (const step of steps) {
    const paths = parametersOf(step).filter((path) => path.includes(HOLE));
    part = paths.at(-1)?.split(HOLE)[1]?.split(".")[0] ?? part;
    const before = found.get(part);
    found.set(part, {
      part,
      dispatches: (before?.dispatches ?? 0) + 1,
      hasExperts: before?.hasExperts === true || paths.some(isBanked),
      keepsState: before?.keepsState === true || step.bindings.some((b) => b.kind === "state"),
    });
  }
  return [...found.values()];
}

const parametersOf = ({ bindings }: Dispatch): readonly string[] =>
  bindings.flatMap((b) => (b.kind === "parameter" ? [b.path] : []));
