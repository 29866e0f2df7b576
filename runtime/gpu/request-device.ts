/**
 * A device out of an adapter, of Dawn's or a browser's: the features that kernels can use, limits as large as they are given, and the facts
 * that kernels are chosen by.
 */
import { DEVICE_KINDS } from "../../compiler/plan/facts.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { AdapterFacts } from "./adapter.ts";
import { Device, type Wait } from "./device.ts";

/** Where a device is asked of. */
export interface Opener {
  /** Gives a device once. */
  readonly adapter: GPUAdapter;
  readonly facts: AdapterFacts;
  readonly wait: Wait;
}

/**
 * Asks an adapter for a device. `facts` stand instead of what it says, to see what is done on a smaller device: never claim more than there
 * is. Throws `device/refused`.
 */
export async function requestDevice(
  { adapter, facts: named, wait }: Opener,
  facts: Partial<DeviceFacts> = {},
): Promise<Device> {
  const requiredFeatures = (["subgroups", "shader-f16", "timestamp-query"] as const).filter((name) => {
    if (name === "subgroups" && facts.subgroup === null) return false;
    if (name === "shader-f16" && facts.f16 === false) return false;
    return adapter.features.has(name);
  });
  let gpu: GPUDevice;
  try {
    gpu = await wait(adapter.requestDevice({ requiredFeatures, requiredLimits: pickLimits(adapter.limits) }));
  } catch (error) {
    throw failure("device/refused", `adapter \`${named.name}\` gave no device`, { notes: [String(error)] });
  }
  return new Device({ gpu, adapter: named, facts: { ...readFacts(gpu, adapter.info, named), ...facts }, wait });
}

function readFacts(gpu: GPUDevice, info: GPUAdapterInfo, { kind }: AdapterFacts): DeviceFacts {
  const { limits } = gpu;
  // WebGPU's own bounds, where an adapter does not say.
  const { subgroupMinSize = 4, subgroupMaxSize = 128 } = info;
  return {
    ...DEVICE_KINDS[kind === "software" ? "software" : "gpu"],
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
