/**
 * One to a few rows on a GPU: eight invocations side by side read 128 bytes of a row of weights, sixteen such sets divide
 * k, so that even a few hundred columns make work for many multiprocessors. Needs no feature. The loop is in `few.ts`.
 */
import type { ContractTemplate } from "./contract.ts";
import { emitFew } from "./few.ts";
import { tuning } from "./tuning.ts";

const COLUMNS = 8;
const SPLITS = 16;

export const contractFewGpu: ContractTemplate = {
  name: "few-gpu",
  regime: "few",
  suits: () => true,
  emit(spec, device) {
    // Partial sums of every row and matrix must fit the workgroup memory.
    const room =
      device.workgroupMemory / (COLUMNS * SPLITS * 16 * Math.max(...spec.groups.map((g) => g.matrices.length)));
    const height = Math.min(tuning.gpu.fewRows, Math.floor(room));
    return emitFew(spec, { columns: COLUMNS, splits: SPLITS, height, lanes: null });
  },
};
