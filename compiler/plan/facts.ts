/**
 * What a device may say of itself: by these facts kernels are chosen, and loops over them have to end. WebGPU tells features and limits; what
 * else kernels ask for follows from the sort of adapter.
 */
import { checkOptions, flag, needed, type Rule, type Rules, whole } from "../../grammar/option.ts";
import type { DeviceFacts } from "./plan.ts";

/** Capabilities that no adapter tells, by what it is: a CPU that runs shaders in SIMD, or a GPU. */
export const DEVICE_KINDS = {
  software: { fastWorkgroupMemory: false, manyCores: false },
  gpu: { fastWorkgroupMemory: true, manyCores: true },
} as const satisfies Readonly<Record<string, Partial<DeviceFacts>>>;

export type DeviceKind = keyof typeof DEVICE_KINDS;

/** What WebGPU promises of every device of a kind: a plan for these facts runs on any of them. */
export function promisedFacts(kind: DeviceKind): DeviceFacts {
  return {
    ...DEVICE_KINDS[kind],
    subgroup: null,
    f16: false,
    maxBinding: 128 * 2 ** 20,
    maxBuffer: 256 * 2 ** 20,
    workgroupMemory: 16384,
    maxInvocations: 256,
    maxStorageBuffers: 8,
    maxWorkgroups: 65535,
  };
}

const bytes = needed(whole(1, Number.MAX_SAFE_INTEGER));
const count = needed(whole(1));

const subgroup: Rule = {
  allowed: "null, or { min, max } in lanes",
  accepts: (v) => {
    if (v === null) return true;
    const { min, max } = Object(v) as { readonly min?: unknown; readonly max?: unknown };
    return whole(1).accepts(min) && whole(min as number).accepts(max);
  },
};

const FACTS_RULES: Rules<DeviceFacts> = {
  fastWorkgroupMemory: needed(flag),
  manyCores: needed(flag),
  subgroup: needed(subgroup),
  f16: needed(flag),
  maxBinding: bytes,
  maxBuffer: bytes,
  workgroupMemory: bytes,
  maxInvocations: count,
  maxStorageBuffers: count,
  maxWorkgroups: count,
};

/** Throws `option/*`. */
export function checkFacts(call: string, facts: DeviceFacts): void {
  checkOptions(`device of ${call}`, facts, FACTS_RULES);
}
