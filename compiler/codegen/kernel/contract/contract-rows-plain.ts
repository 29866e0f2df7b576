/**
 * Many rows anywhere: every invocation holds eight rows times four columns in registers and reads both operands
 * itself. No subgroups, no workgroup memory; the last choice, and the simplest kernel to check the others against.
 */
import type { ContractTemplate } from "./contract.ts";
import { emitRegisterRows } from "./contract-rows-software.ts";

export const contractRowsPlain: ContractTemplate = {
  name: "rows-plain",
  regime: "prefill",
  suits: () => true,
  emit(spec) {
    const tileRows = spec.routing?.tileRows ?? 8;
    const height = [8, 4, 2, 1].find((h) => tileRows % h === 0) as number;
    return emitRegisterRows(spec, height, null, 32);
  },
};
