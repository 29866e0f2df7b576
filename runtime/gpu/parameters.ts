/**
 * A plan's parameters on the GPU: read one by one, so that the host holds one at a time, packed and uploaded in chunks.
 */
import { FORMATS } from "../../compiler/plan/format.ts";
import type { Parameter, Plan } from "../../compiler/plan/plan.ts";
import { elementBytes, ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import type { Device } from "./device.ts";
import { BufferUsage } from "./flags.ts";
import { toFloat32 } from "../checkpoint/data-type.ts";
import { findExtreme, findNotFinite } from "./finite.ts";
import { packPart, type SourceTensor } from "./layout.ts";

/** Where parameters come from, by path: a checkpoint read through a map, an upcycling, a random initialisation. */
export interface ParameterSource {
  /** The type that a parameter's elements are given in. */
  readonly storage: (path: string) => ElementType;
  /**
   * Elements `start ..< start + length` in row-major order over the parameter's axes, as bytes of `storage(path)`. Who has room
   * for them may offer it as `into`; what is returned holds them either way.
   */
  readonly read: (path: string, start: number, length: number, into?: Uint8Array) => Promise<Uint8Array>;
  /** Where these elements are stored, if they come from files. */
  readonly places?: (path: string, start: number, length: number) => readonly StoredPlace[];
  /** An element as it is stored, where that may be wider than what is read. */
  readonly exact?: (path: string, at: number) => Promise<number>;
}

/** A range of a file that holds elements of a parameter. */
export interface StoredPlace {
  readonly tensor: string;
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly end: number;
  /** Whether every byte of the range belongs to them, in their order; else they lie scattered in it. */
  readonly whole: boolean;
}

export interface UploadedParameters {
  readonly bytes: number;
  /** Throws when the plan has no such part, which is a bug of the compiler. */
  find(path: string, part: number): GPUBuffer;
  destroy(): void;
}

/** Uploads in flight: WebGPU holds a copy of each chunk until the device has taken it. */
const BYTES_IN_FLIGHT = 64 << 20;

export interface UploadOptions extends AbortOptions {
  /** Hears the bytes done so far. */
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined;
  /** Hears of weights whose squares pass what float32 holds. */
  readonly onNote?: ((note: Diagnostic) => void) | undefined;
}

/** Uploads all parameters of a plan. Throws `device/out-of-memory`, `device/too-large`, `checkpoint/not-finite`, `checkpoint/overflow`. */
export async function uploadParameters(
  device: Device,
  plan: Plan,
  source: ParameterSource,
  { onProgress = () => {}, onNote = () => {}, signal }: UploadOptions = {},
): Promise<UploadedParameters> {
  const { queue } = device.gpu;
  const buffers = new Map<string, GPUBuffer>();
  const destroy = (): void => buffers.forEach((b) => b.destroy());
  const total = plan.parameters.reduce((n, p) => n + p.parts.reduce((m, part) => m + part.bytes, 0), 0);
  let done = 0;
  let inFlight = 0;
  try {
    for (const parameter of plan.parameters) {
      checkAborted("openSession", signal);
      const { path, axes } = parameter;
      const elements = axes.reduce((n, axis) => n * axis.size, 1);
      const tensor = { dtype: source.storage(path), bytes: await source.read(path, 0, elements) };
      await checkValues(parameter, tensor, source, onNote);
      checkRoom(parameter, tensor);
      for (const [i, part] of parameter.parts.entries()) {
        const buffer = await createBuffer(device, parameter, part.bytes);
        buffers.set(keyOf(path, i), buffer);
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

/** Throws `checkpoint/not-finite` and `checkpoint/overflow`, and warns of the first weight that is extreme. */
async function checkValues(
  { path, axes }: Parameter,
  { dtype, bytes }: SourceTensor,
  source: ParameterSource,
  onNote: (note: Diagnostic) => void,
): Promise<void> {
  const extreme = findExtreme(dtype, bytes);
  if (extreme === null) return;
  const at = findNotFinite(dtype, bytes);
  const place = placeOf(axes, at ?? extreme);
  const stored = at === null ? null : ((await source.exact?.(path, at)) ?? Number.NaN);
  if (stored !== null && Number.isFinite(stored))
    throw failure(
      "checkpoint/overflow",
      `${dtype} cannot hold element ${at} of parameter \`${path}\`, at ${place}: it is stored as ${stored.toExponential(2)}`,
      { help: "models compute in f32, which ends at 3.4e38: scale the weights, or look at what wrote them" },
    );
  if (at !== null)
    throw failure(
      "checkpoint/not-finite",
      `parameter \`${path}\` is not finite at ${place}: element ${at} is NaN or infinite`,
      { help: "the weights are damaged, or their training diverged: fetch or make them again" },
    );
  const width = elementBytes(dtype);
  const own = Uint8Array.from(bytes.subarray(extreme * width, (extreme + 1) * width));
  const [value] = toFloat32(ELEMENTS[dtype].dtype, own);
  onNote({
    code: "checkpoint/extreme",
    severity: "warning",
    message: `parameter \`${path}\` holds ${value!.toExponential(2)} at ${place}: sums with it may pass what float32 holds`,
    labels: [],
    notes: [],
    help: "the weights are damaged, or their training diverged, unless such a number is meant",
  });
}

/** Elements that are looked at together. */
const LOOK = 1 << 16;

/** Throws `checkpoint/overflow` for the first number that the plan's format has no room for. */
function checkRoom({ path, axes, storage }: Parameter, { dtype, bytes }: SourceTensor): void {
  const { largest } = FORMATS[storage];
  if (ELEMENTS[dtype].largest <= largest) return;
  const width = elementBytes(dtype);
  for (let from = 0; from < bytes.byteLength; from += LOOK * width) {
    const values = toFloat32(ELEMENTS[dtype].dtype, bytes.subarray(from, from + LOOK * width));
    const at = values.findIndex((x) => Math.abs(x) > largest);
    if (at < 0) continue;
    const element = from / width + at;
    throw failure(
      "checkpoint/overflow",
      `${storage} cannot hold element ${element} of parameter \`${path}\`, at ${placeOf(axes, element)}: it is ${values[at]!.toExponential(2)}, and ${storage} ends at ${largest.toExponential(2)}`,
      { help: `compile the model with this parameter in a format that can, such as ${dtype}` },
    );
  }
}

/** Where an element is along each axis. */
function placeOf(axes: Parameter["axes"], element: number): string {
  let rest = element;
  return axes
    .toReversed()
    .map(({ name, size }) => {
      const index = rest % size;
      rest = Math.floor(rest / size);
      return `${name} = ${index}`;
    })
    .reverse()
    .join(", ");
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
      usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
    }),
  );
}

function keyOf(path: string, part: number): string {
  return `${part} ${path}`;
}
