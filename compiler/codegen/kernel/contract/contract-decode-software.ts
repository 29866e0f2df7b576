/**
 * One to a few rows on a software adapter: a workgroup is one subgroup, which reads the weights as a stream; nothing goes
 * through workgroup memory, whose barriers are slow there. The loop is in `decode.ts`.
 */
import type { ContractTemplate } from "./contract.ts";
import { emitDecode } from "./decode.ts";
import { fixedLanes, tuning } from "../tuning.ts";

export const contractDecodeSoftware: ContractTemplate = {
  name: "decode-software",
  regime: "decode",
  suits: (_, device) => !device.fastWorkgroupMemory,
  emit(spec, device) {
    const lanes = fixedLanes(device);
    // Without broadcast every row costs each invocation a load of its own.
    if (lanes === null) return emitDecode(spec, { columns: 8, splits: 1, height: 4, lanes, ahead: 1 });
    const height = Math.max(lanes, tuning.registers.fewRows);
    return emitDecode(spec, { columns: lanes, splits: 1, height, lanes, ahead: 1 });
  },
};
