/** What is still held: buffers of a device that nobody destroyed, and files of a folder that nobody closed. */
import { readdirSync, readlinkSync } from "node:fs";
import type { Device } from "../../runtime/gpu/device.ts";

/** From now until it is disposed of, the buffers that were made and not destroyed. */
export function watchBuffers({ gpu }: Device): Disposable & { readonly alive: ReadonlySet<GPUBuffer> } {
  const create = gpu.createBuffer.bind(gpu);
  const alive = new Set<GPUBuffer>();
  gpu.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    alive.add(buffer);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      alive.delete(buffer);
      return destroy();
    };
    return buffer;
  };
  return { alive, [Symbol.dispose]: () => void (gpu.createBuffer = create) };
}

/** Open files whose path ends so; none where the system does not tell. */
export function openFiles(end: string): readonly string[] {
  const folder = "/proc/self/fd";
  const targets = listed(folder).map((name) => {
    try {
      return readlinkSync(`${folder}/${name}`);
    } catch {
      // The one that lists the folder is closed by now.
      return "";
    }
  });
  return targets.filter((path) => path.endsWith(end));
}

function listed(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
