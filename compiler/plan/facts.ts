/** What a device may say of itself: by these facts kernels are chosen, and loops over them have to end. */
import { checkOptions, flag, needed, oneOf, type Rule, type Rules, whole } from "../../grammar/option.ts";
import type { DeviceFacts } from "./plan.ts";

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
  kind: needed(oneOf("software", "gpu")),
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
