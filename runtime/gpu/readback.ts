/** Reading buffers back: copies ride on the step that fills them, and staging buffers are used again. */
import type { Device } from "./device.ts";
import type { Encodes } from "./execute.ts";
import { BufferUsage, MapMode } from "./flags.ts";

/** A copy that is part of a step; `take` waits for it, once. */
export interface Readback extends Encodes {
  after(encoder: GPUCommandEncoder): void;
  take(): Promise<ArrayBuffer>;
}

export class StagingPool {
  readonly #device: Device;
  readonly #all = new Set<GPUBuffer>();
  readonly #free: GPUBuffer[] = [];

  constructor(device: Device) {
    this.#device = device;
  }

  /** Reads the first `bytes` (a multiple of 4) of a buffer after the step that this is given to. */
  read(source: GPUBuffer, bytes: number): Readback {
    const staging = this.#take(bytes);
    return {
      after: (encoder) => encoder.copyBufferToBuffer(source, 0, staging, 0, bytes),
      take: async () => {
        await this.#device.wait(staging.mapAsync(MapMode.READ, 0, bytes));
        const copy = staging.getMappedRange(0, bytes).slice(0);
        staging.unmap();
        this.#free.push(staging);
        return copy;
      },
    };
  }

  /** Also of what is still being read: whoever waits for that is told an error. */
  destroy(): void {
    for (const buffer of this.#all) buffer.destroy();
    this.#all.clear();
    this.#free.length = 0;
  }

  #take(bytes: number): GPUBuffer {
    const fitting = this.#free.findIndex((b) => b.size >= bytes && b.size <= 4 * Math.max(bytes, 1 << 16));
    if (fitting >= 0) return this.#free.splice(fitting, 1)[0]!;
    const made = this.#device.gpu.createBuffer({
      label: "staging",
      size: Math.max(256, bytes),
      usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
    });
    this.#all.add(made);
    return made;
  }
}
