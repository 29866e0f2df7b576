/**
 * One to a few rows on a GPU: a few invocations side by side read a run of a row of weights, and many such sets divide k,
 * so that even a few hundred columns make work for many multiprocessors. Needs no feature. The loop is in `decode.ts`.
 */
import type { ContractionTemplate } from "./contraction.ts";
import { emitDecode } from "./decode.ts";
import { columnBlocks } from "./places.ts";
import { tuning } from "../tuning.ts";

export const contractionDecodeGpu: ContractionTemplate = {
  name: "decode-gpu",
  regime: "decode",
  suits: () => true,
  emit(spec, device) {
    const { routing } = spec;
    const rows = routing !== null && routing.combine === null ? routing.choices : 1;
    const { invocations, fewestWorkgroups, fewColumns, ahead, ...most } = tuning.decodeGpu;
    const columns = rows * columnBlocks(spec, 4 * most.columns).total < fewestWorkgroups ? fewColumns : most.columns;
    const splits = Math.min(invocations, device.maxInvocations) / columns;
    // Partial sums of every row and matrix must fit the workgroup memory.
    const room =
      device.workgroupMemory / (columns * splits * 4 * 4 * Math.max(...spec.groups.map((g) => g.matrices.length)));
    const height = Math.min(most.rows, Math.floor(room));
    return emitDecode(spec, { columns, splits, height, lanes: null, ahead });
  },
};
