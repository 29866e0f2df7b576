/**
 * One to a few rows on a software adapter: a workgroup is one subgroup, which reads the weights as a stream; nothing goes
 * through workgroup memory, whose barriers are slow there. The loop is in `decode.ts`.
 */
import type { ContractionTemplate } from "./contraction.ts";
import { emitDecode } from "./decode.ts";
import { fixedLanes, tuning } from "../tuning.ts";

export const contractionDecodeSoftware: ContractionTemplate = {
  name: "decode-software",
  regime: "decode",
  suits: (_, device) => !device.fastWorkgroupMemory,
  emit(spec, device) {
    const { rows, columns, plainRows } = tuning.decodeSoftware;
    const lanes = fixedLanes(device);
    // Without broadcast every row costs each invocation a load of its own.
    if (lanes === null) return emitDecode(spec, { columns, splits: 1, height: plainRows, lanes, ahead: 1 });
    const height = Math.max(lanes, rows);
    return emitDecode(spec, { columns: lanes, splits: 1, height, lanes, ahead: 1 });
  },
};
