/** A plan's parameters on the GPU: read one by one, packed and uploaded in chunks, so that staging memory stays small. */
import type { Parameter, Plan } from "../compiler/plan/plan.ts";
import { failure } from "../grammar/diagnostic.ts";
import { BufferUsage, type Device } from "./device.ts";
import { packPart, type SourceTensor } from "./layout.ts";

/** Where parameters come from: a checkpoint read through a map, an upcycling, a random initialisation. */
export interface ParameterSource {
  /** The whole tensor by its path in the model, row-major over the parameter's axes. */
  read(path: string): Promise<SourceTensor>;
}

export interface UploadedParameters {
  readonly bytes: number;
  /** Throws when the plan has no such part, which is a bug of the compiler. */
  find(path: string, part: number): GPUBuffer;
  destroy(): void;
}

/** Uploads in flight: Dawn holds a copy of each chunk until the device has taken it. */
const BYTES_IN_FLIGHT = 64 << 20;

/** Uploads all parameters of a plan. `onProgress` hears the bytes done so far. Throws `device/out-of-memory`, `device/too-large`. */
export async function uploadParameters(
  device: Device,
  plan: Plan,
  source: ParameterSource,
  onProgress: (bytes: number, total: number) => void = () => {},
): Promise<UploadedParameters> {
  const { queue } = device.gpu;
  const buffers = new Map<string, GPUBuffer>();
  const destroy = (): void => buffers.forEach((b) => b.destroy());
  const total = plan.parameters.reduce((n, p) => n + p.parts.reduce((m, part) => m + part.bytes, 0), 0);
  let done = 0;
  let inFlight = 0;
  try {
    for (const parameter of plan.parameters) {
      const tensor = await source.read(parameter.path);
      for (const [i, part] of parameter.parts.entries()) {
        const buffer = await createBuffer(device, parameter, part.bytes);
        buffers.set(keyOf(parameter.path, i), buffer);
        for (const { offset, bytes } of packPart(parameter, i, tensor)) {
          queue.writeBuffer(buffer, offset, bytes);
          inFlight += bytes.byteLength;
          done += bytes.byteLength;
          if (inFlight < BYTES_IN_FLIGHT) continue;
          queue.submit([]);
          await device.wait(queue.onSubmittedWorkDone());
          inFlight = 0;
          onProgress(done, total);
        }
      }
    }
    queue.submit([]);
    await device.wait(queue.onSubmittedWorkDone());
    onProgress(done, total);
  } catch (error) {
    destroy();
    throw error;
  }
  return {
    bytes: total,
    find(path, part) {
      const buffer = buffers.get(keyOf(path, part));
      if (buffer === undefined) throw new Error(`the plan binds part ${part} of ${path}, which it does not declare`);
      return buffer;
    },
    destroy,
  };
}

function createBuffer(device: Device, parameter: Parameter, bytes: number): Promise<GPUBuffer> {
  if (bytes > device.facts.maxBinding)
    throw failure(
      "device/too-large",
      `a part of parameter \`${parameter.path}\` takes ${bytes} bytes, and this device binds at most ${device.facts.maxBinding}`,
      { help: "compile the model for this device" },
    );
  return device.guard(`parameter \`${parameter.path}\` (${bytes} bytes)`, () =>
    device.gpu.createBuffer({
      label: parameter.path,
      size: Math.max(16, Math.ceil(bytes / 16) * 16),
      usage: BufferUsage.STORAGE | BufferUsage.COPY_DST,
    }),
  );
}

function keyOf(path: string, part: number): string {
  return `${part} ${path}`;
}
