/**
 * The parameters below a place in a model, as runs: a bank index fixes leading axes, so what is left of each parameter is
 * contiguous. Runs of two subtrees correspond by their path below the subtree's root.
 */
import type { Instance } from "../../language/interpret/value.ts";
import { fillPath } from "../../graph/path.ts";
import type { Found } from "../map/path.ts";

export interface Run {
  /** Path below the place, e.g. `gate.w`; empty for a parameter itself. */
  readonly relative: string;
  readonly path: string;
  readonly start: number;
  readonly sizes: readonly number[];
  /** Names of the axes of `sizes`. */
  readonly names: readonly string[];
}

export function runsOf(found: Found): readonly Run[] {
  if (found.kind === "parameter") return [runOf(found.parameter, found.path, "", found.banks)];
  const runs: Run[] = [];
  const visit = (instance: Instance, prefix: string, layers: ReadonlyMap<string, number>): void => {
    for (const [name, member] of instance.members) {
      const relative = prefix === "" ? name : `${prefix}.${name}`;
      if (member.kind === "parameter")
        runs.push(runOf(member.parameter, fillPath(member.parameter.path, layers), relative, found.banks));
      else if (member.kind === "layer") visit(member.instance, relative, layers);
      else if (member.kind === "stack") {
        for (const [i, template] of member.layers.entries())
          visit(template, `${relative}[${i}]`, new Map([...layers, [template.path, i]]));
      }
    }
  };
  visit(found.instance, "", found.layers);
  return runs;
}

function runOf(
  parameter: { axes: readonly { name: string; size: { value: number | null } }[] },
  path: string,
  relative: string,
  banks: ReadonlyMap<string, number>,
): Run {
  const sizes = parameter.axes.map((a) => a.size.value ?? 0);
  let start = 0;
  parameter.axes.forEach((axis, i) => {
    const index = banks.get(axis.name);
    if (index !== undefined) start += index * sizes.slice(i + 1).reduce((a, b) => a * b, 1);
  });
  const left = parameter.axes.flatMap((axis, i) =>
    banks.has(axis.name) ? [] : [{ name: axis.name, size: sizes[i]! }],
  );
  return { relative, path, start, sizes: left.map((a) => a.size), names: left.map((a) => a.name) };
}
