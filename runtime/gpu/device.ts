/**
 * A WebGPU device: the adapter that was chosen, the facts that kernels are chosen by, and every way in which it can fail
 * turned into a `MoeError`. Errors that Dawn reports late (validation, lost device) are kept and thrown at the next `check`.
 */
import { globals } from "webgpu";
import { type DeviceFacts } from "../../compiler/plan/plan.ts";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import { checkOptions, object, type Rules, text } from "../../grammar/option.ts";
import { type AdapterFacts, findAdapter, openNullAdapter, type OpenAdapter } from "../dawn/adapter.ts";
import { settle } from "../dawn/wait.ts";

export { type AdapterFacts, listAdapters } from "../dawn/adapter.ts";

/** WebGPU's flags, without putting its names into the global scope. */
export const constants = globals as {
  readonly GPUBufferUsage: { readonly [K in keyof typeof GPUBufferUsage]: number };
  readonly GPUMapMode: { readonly [K in keyof typeof GPUMapMode]: number };
  readonly GPUShaderStage: { readonly COMPUTE: number };
};
export const BufferUsage = constants.GPUBufferUsage;
export const MapMode = constants.GPUMapMode;

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
  const { adapter } = opened;
  const wanted = (["subgroups", "shader-f16", "timestamp-query"] as const).filter((name) => {
    if (name === "subgroups" && options.facts?.subgroup === null) return false;
    if (name === "shader-f16" && options.facts?.f16 === false) return false;
    return adapter.features.has(name);
  });
  try {
    const gpu = await settle(
      adapter.requestDevice({ requiredFeatures: wanted, requiredLimits: pickLimits(adapter.limits) }),
    );
    return new Device(gpu, opened, { ...readFacts(gpu, opened), ...options.facts });
  } catch (error) {
    throw failure("device/refused", `adapter \`${opened.facts.name}\` gave no device`, { notes: [String(error)] });
  }
}

/** Runs on a device: see `openDevice`. */
export class Device {
  readonly gpu: GPUDevice;
  readonly facts: DeviceFacts;
  readonly adapter: AdapterFacts;
  /** True when dispatches can be timed. */
  readonly hasTimestamps: boolean;
  /** Named in a late error, so that it can be traced: the executor sets it to what was last submitted. */
  activity = "setup";
  #isOpen = true;
  #failure: MoeError | null = null;

  constructor(gpu: GPUDevice, opened: OpenAdapter, facts: DeviceFacts) {
    this.gpu = gpu;
    this.facts = facts;
    this.adapter = opened.facts;
    this.hasTimestamps = gpu.features.has("timestamp-query");
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#failure ??= describeError(event.error, this.activity);
    });
    void gpu.lost.then((info) => {
      if (this.#isOpen) this.#failure = describeLoss(info, this.activity);
    });
  }

  /** Throws what went wrong since the last call, if anything did, and `device/closed` after `close`. */
  check(): void {
    if (!this.#isOpen) throw failure("device/closed", "the device was closed");
    if (this.#failure === null) return;
    const error = this.#failure;
    // A lost device stays lost; any other failure is told once.
    if (error.diagnostics[0]?.code !== "device/lost") this.#failure = null;
    throw error;
  }

  /** Waits for what Dawn promised, then reports errors that came in meanwhile. */
  async wait<V>(promise: Promise<V>): Promise<V> {
    try {
      return await settle(promise);
    } finally {
      this.check();
    }
  }

  /** Runs `make` and throws what Dawn found wrong with it: `device/out-of-memory` or `device/invalid`, saying `what`. */
  async guard<V>(what: string, make: () => V): Promise<V> {
    this.check();
    this.gpu.pushErrorScope("validation");
    this.gpu.pushErrorScope("out-of-memory");
    let value: V;
    let errors: readonly (GPUError | null)[] = [];
    try {
      value = make();
    } finally {
      errors = await settle(Promise.all([this.gpu.popErrorScope(), this.gpu.popErrorScope()]));
    }
    const found = errors.find((error) => error !== null);
    if (found !== undefined && found !== null) throw describeError(found, what);
    this.check();
    return value;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Releases everything. The process can exit afterwards; further calls throw. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.gpu.destroy();
  }
}

function readFacts(gpu: GPUDevice, { adapter, facts }: OpenAdapter): DeviceFacts {
  const { limits } = gpu;
  // WebGPU's own bounds, where an adapter does not say.
  const { subgroupMinSize = 4, subgroupMaxSize = 128 } = adapter.info;
  return {
    kind: facts.kind === "software" ? "software" : "gpu",
    subgroup: gpu.features.has("subgroups") ? { min: subgroupMinSize, max: subgroupMaxSize } : null,
    f16: gpu.features.has("shader-f16"),
    maxBinding: limits.maxStorageBufferBindingSize,
    maxBuffer: limits.maxBufferSize,
    workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
  };
}

/** A device has WebGPU's small defaults unless it is asked for more: ask for all that kernels and buffers can use. */
function pickLimits(limits: GPUSupportedLimits): Record<string, number> {
  const { maxBufferSize, maxStorageBufferBindingSize, maxUniformBufferBindingSize, maxStorageBuffersPerShaderStage } =
    limits;
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupsPerDimension } =
    limits;
  const { maxComputeWorkgroupSizeX, maxComputeWorkgroupSizeY, maxComputeWorkgroupSizeZ } = limits;
  return {
    ...{ maxBufferSize, maxStorageBufferBindingSize, maxUniformBufferBindingSize, maxStorageBuffersPerShaderStage },
    ...{ maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupsPerDimension },
    ...{ maxComputeWorkgroupSizeX, maxComputeWorkgroupSizeY, maxComputeWorkgroupSizeZ },
  };
}

function describeError(error: GPUError, activity: string): MoeError {
  const [first = "", ...rest] = error.message.split("\n").filter((line) => line.trim() !== "");
  if (error.constructor.name === "GPUOutOfMemoryError")
    return failure("device/out-of-memory", `the device has no memory left for ${activity}`, {
      help: "use a smaller model, fewer sequences or a smaller capacity",
      notes: [first, ...rest],
    });
  return failure("device/invalid", `Dawn refused ${activity}: ${first}`, { notes: rest });
}

function describeLoss(info: GPUDeviceLostInfo, activity: string): MoeError {
  return failure("device/lost", `the device was lost during ${activity}`, {
    help: "open a new device; when it happens again, the kernel named here runs too long or reads out of bounds",
    notes: info.message === "" ? [] : [info.message],
  });
}
