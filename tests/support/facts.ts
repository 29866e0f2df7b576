/** Facts of a device that a plan can be made for without having one. */
import { DEVICE_KINDS, promisedFacts } from "../../compiler/plan/facts.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";

export const softwareFacts: DeviceFacts = promisedFacts("software");

/** Over the facts of any adapter: kernels as for GPUs. */
export const likeGpu = DEVICE_KINDS.gpu;
