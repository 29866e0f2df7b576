/** The invocations of one workgroup working on a row together: folding their values into one that all of them know. */
import type { Emitter } from "./emit.ts";

export interface Team {
  readonly lanes: number;
  /** The workgroup is one subgroup, so that values pass between registers and no barrier is needed for them. */
  readonly subgroup: boolean;
}

/**
 * Folds variables of every invocation: `combine` gives statements that fold the `other` variables into `mine`. Afterwards
 * all invocations hold the same values. A butterfly, so every fold has the same order in every run.
 */
export function foldTeam(
  e: Emitter,
  team: Team,
  mine: readonly { readonly name: string; readonly type: string }[],
  combine: (other: readonly string[]) => string,
): void {
  if (team.subgroup) {
    for (let mask = 1; mask < team.lanes; mask *= 2) {
      const other = mine.map(() => e.w.fresh("other"));
      mine.forEach(({ name }, i) => e.line(`let ${other[i]} = subgroupShuffleXor(${name}, ${mask}u);`));
      e.line(combine(other));
    }
    return;
  }
  const shared = mine.map(({ type }) => listOf(e, `team_${type}`, type, team.lanes));
  const step = e.w.fresh("step");
  const other = mine.map(() => e.w.fresh("other"));
  e.line(`for (var ${step} = ${team.lanes / 2}u; ${step} > 0u; ${step} /= 2u) {`);
  mine.forEach(({ name }, i) => e.line(`${shared[i]}[lane] = ${name};`));
  e.line("workgroupBarrier();");
  mine.forEach((_, i) => e.line(`let ${other[i]} = ${shared[i]}[lane ^ ${step}];`));
  e.line(`${combine(other)}\nworkgroupBarrier();\n}`);
}

/** A list in workgroup memory; the same name is the same list. */
export function listOf(e: Emitter, name: string, type: string, length: number): string {
  e.w.global(name, `var<workgroup> ${name}: array<${type}, ${length}>;`);
  return name;
}
