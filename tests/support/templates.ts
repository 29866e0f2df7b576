/** Kernel templates that a device can run at all; the others are for devices of another kind. */
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { fixedLanes } from "../../compiler/codegen/kernel/tuning.ts";

/** Those for software adapters are made of small subgroups of one size. */
export const canRun = (template: string, facts: DeviceFacts): boolean =>
  !template.endsWith("-software") || fixedLanes(facts) !== null;
