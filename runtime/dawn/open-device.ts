/** Opens a device of Dawn's, in Node. */
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { checkOptions, object, type Rules, text } from "../../grammar/option.ts";
import type { Device } from "../gpu/device.ts";
import { requestDevice } from "../gpu/request-device.ts";
import { findAdapter, openNullAdapter } from "./find-adapter.ts";
import { settle } from "./wait.ts";

export interface DeviceOptions {
  /** Part of the name of an adapter; the best one otherwise. `null` (the word) is Dawn's null backend, for tests. */
  readonly adapter?: string;
  /** Instead of what the adapter says, to see what is done on a smaller device. Never claim more than there is. */
  readonly facts?: Partial<DeviceFacts>;
  /** Dawn toggles. `skip_validation` makes encoding cheaper and mistakes undefined behaviour: off by default. */
  readonly toggles?: { readonly enable?: readonly string[]; readonly disable?: readonly string[] };
}

const DEVICE_RULES: Rules<DeviceOptions> = {
  adapter: text,
  facts: object("an object of facts"),
  toggles: object("lists to enable and to disable"),
};

/** Opens the best adapter, or the one asked for. Throws `device/none`, `device/unknown-adapter`, `device/refused`. */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  checkOptions("openDevice", options, DEVICE_RULES);
  const dawn = [
    // Kernels index within what the compiler computed, so a divisor is never zero: no guard around each `/` and `%`.
    `enable-dawn-features=${["disable_polyfills_on_integer_div_and_mod", ...(options.toggles?.enable ?? [])].join(",")}`,
    // Coarse timestamps guard web pages against timing attacks; the profiler needs the real ones.
    `disable-dawn-features=${["timestamp_quantization", ...(options.toggles?.disable ?? [])].join(",")}`,
  ];
  const opened =
    options.adapter === "null" ? await openNullAdapter(dawn) : await findAdapter(options.adapter ?? null, dawn);
  return requestDevice({ ...opened, wait: settle }, options.facts);
}
