/** Facts of a device that a plan can be made for without having one. */
import type { DeviceFacts } from "../../compiler/plan/plan.ts";

export const softwareFacts: DeviceFacts = {
  kind: "software",
  subgroup: null,
  f16: false,
  maxBinding: 2 ** 27,
  maxBuffer: 2 ** 28,
  workgroupMemory: 16384,
  maxInvocations: 256,
  maxStorageBuffers: 8,
  maxWorkgroups: 65535,
};
