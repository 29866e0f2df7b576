/**
 * Many rows on a software adapter: a workgroup is one subgroup; its lanes share the rows of A by broadcast and own four
 * columns each. Needs small subgroups of one size. Idea and measurements: the inner loop in `row-block.ts`.
 */
import type { EmittedKernel, ContractionSpec, ContractionTemplate } from "./contraction.ts";
import { columnBlocks, denseRows, forEachGroup, storeRows, tiledRows, vectorOf } from "./places.ts";
import { emitRowBlock } from "./row-block.ts";
import { fixedLanes, rowsFor, tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";

export const contractionRowsSoftware: ContractionTemplate = {
  name: "rows-software",
  regime: "prefill",
  suits(spec, device) {
    const lanes = fixedLanes(device);
    const cutsTiles = spec.routing === null || (lanes !== null && spec.routing.tileRows % lanes === 0);
    return !device.fastWorkgroupMemory && lanes !== null && cutsTiles;
  },
  emit(spec, device) {
    const lanes = fixedLanes(device);
    if (lanes === null) throw new Error(`${spec.id}: needs subgroups of one size`);
    return emitRegisterRows(spec, chooseHeight(spec, lanes), lanes, lanes);
  },
};

/** The tallest block that the tuning allows and that cuts tiles evenly. */
function chooseHeight(spec: ContractionSpec, lanes: number): number {
  const wanted = Math.max(
    lanes,
    rowsFor(tuning.rowsSoftware.rows, Math.max(...spec.groups.map((g) => g.matrices.length))),
  );
  if (spec.routing === null) return wanted;
  let height = Math.min(wanted, spec.routing.tileRows);
  while (height > lanes && (spec.routing.tileRows % height !== 0 || height % lanes !== 0)) height -= lanes;
  return height;
}

/**
 * A kernel whose invocations each hold `height` rows times four columns. `lanes`: the subgroup size when rows are
 * broadcast (the workgroup is then one subgroup), or null when each invocation loads them.
 */
export function emitRegisterRows(
  spec: ContractionSpec,
  height: number,
  lanes: number | null,
  invocations: number,
): EmittedKernel {
  const w = new KernelWriter();
  const width = invocations * 4;
  const { total } = columnBlocks(spec, width);
  const rows =
    spec.routing === null ? denseRows(w, spec, height, total) : tiledRows(w, spec, spec.routing, height, total);
  const aRow = (i: string): string => rows.aRow(`min(${i}, ${rows.count} - 1u)`);
  const body = forEachGroup(
    spec,
    width,
    (block) => `(${block} * ${invocations}u + lane) * 4u`,
    (group) => {
      const vector = w.fresh("vector");
      const { text, sums } = emitRowBlock(w, spec, group, {
        rows: height,
        lanes,
        aRow,
        bank: rows.bank,
        vector,
        from: "0u",
        step: 4,
        ahead: 1,
      });
      return `let ${vector} = ${vectorOf(group)};\n${text}\n${storeRows(w, group, rows, sums)}`;
    },
  );
  const module = w.finish(spec.id, [invocations, 1, 1], `${rows.text}\n${body}`);
  return { module, grid: [rows.grid, 1, 1], bindings: w.bindings, constants: w.constants };
}
