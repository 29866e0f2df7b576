/**
 * Many rows anywhere: every invocation holds eight rows times four columns in registers and reads both operands
 * itself. No subgroups, no workgroup memory; the last choice, and the simplest kernel to check the others against.
 */
import type { ContractionTemplate } from "./contraction.ts";
import { emitRegisterRows } from "./contraction-rows-software.ts";
import { tuning } from "../tuning.ts";

export const contractionRowsPlain: ContractionTemplate = {
  name: "rows-plain",
  regime: "prefill",
  suits: () => true,
  emit(spec) {
    const { rows, invocations } = tuning.rowsPlain;
    const tileRows = spec.routing?.tileRows ?? rows[0];
    const height = rows.find((h) => tileRows % h === 0) as number;
    return emitRegisterRows(spec, height, null, invocations);
  },
};
