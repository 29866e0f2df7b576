/**
 * One to a few rows on a GPU: a few invocations side by side read a run of a row of weights, and many such sets divide k,
 * so that even a few hundred columns make work for many multiprocessors. Needs no feature. The loop is in `decode.ts`;
 * widths were measured on an H200, where half as many invocations took a third longer for experts.
 */
import type { ContractTemplate } from "./contract.ts";
import { emitDecode } from "./decode.ts";
import { columnBlocks } from "./places.ts";
import { tuning } from "../tuning.ts";

const INVOCATIONS = 256;
/** Vectors of four columns side by side, and fewer where that leaves multiprocessors without a workgroup. */
const COLUMNS = 8;
const FEW_COLUMNS = 4;
const FEWEST_WORKGROUPS = 128;

export const contractDecodeGpu: ContractTemplate = {
  name: "decode-gpu",
  regime: "decode",
  suits: () => true,
  emit(spec, device) {
    const { routing } = spec;
    const rows = routing !== null && routing.combine === null ? routing.choices : 1;
    const columns = rows * columnBlocks(spec, 4 * COLUMNS).total < FEWEST_WORKGROUPS ? FEW_COLUMNS : COLUMNS;
    const splits = Math.min(INVOCATIONS, device.maxInvocations) / columns;
    // Partial sums of every row and matrix must fit the workgroup memory.
    const room =
      device.workgroupMemory / (columns * splits * 16 * Math.max(...spec.groups.map((g) => g.matrices.length)));
    const height = Math.min(tuning.workgroup.fewRows, Math.floor(room));
    return emitDecode(spec, { columns, splits, height, lanes: null, ahead: 2 });
  },
};
