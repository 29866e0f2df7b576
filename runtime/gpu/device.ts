/**
 * A WebGPU device, whoever opened it: the adapter that was chosen, the facts that kernels are chosen by, and every way in which it can fail
 * turned into a `MoeError`. Errors that are reported late (validation, lost device) are kept and thrown at the next `check`.
 */
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import type { AdapterFacts } from "./adapter.ts";

/** Awaits what a device promised. Whoever opens one gives it: where waiting itself takes work, that is where to save it. */
export type Wait = <V>(promise: Promise<V>) => Promise<V>;

export interface OpenedDevice {
  readonly gpu: GPUDevice;
  readonly adapter: AdapterFacts;
  readonly facts: DeviceFacts;
  readonly wait: Wait;
}

/** See `requestDevice`, and `openDevice` in Node. */
export class Device {
  readonly gpu: GPUDevice;
  readonly facts: DeviceFacts;
  readonly adapter: AdapterFacts;
  /** True when dispatches can be timed. */
  readonly hasTimestamps: boolean;
  /** Named in a late error, so that it can be traced: the executor sets it to what was last submitted. */
  activity = "setup";
  readonly #wait: Wait;
  #isOpen = true;
  #failure: MoeError | null = null;

  constructor({ gpu, adapter, facts, wait }: OpenedDevice) {
    this.gpu = gpu;
    this.facts = facts;
    this.adapter = adapter;
    this.#wait = wait;
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

  /** Waits for what the device promised, then reports errors that came in meanwhile. */
  async wait<V>(promise: Promise<V>): Promise<V> {
    try {
      return await this.#wait(promise);
    } finally {
      this.check();
    }
  }

  /** Runs `make` and throws what the device found wrong with it: `device/out-of-memory` or `device/invalid`, saying `what`. */
  async guard<V>(what: string, make: () => V): Promise<V> {
    this.check();
    this.gpu.pushErrorScope("validation");
    this.gpu.pushErrorScope("out-of-memory");
    let value: V;
    let errors: readonly (GPUError | null)[] = [];
    try {
      value = make();
    } finally {
      errors = await this.#wait(Promise.all([this.gpu.popErrorScope(), this.gpu.popErrorScope()]));
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

function describeError(error: GPUError, activity: string): MoeError {
  const [first = "", ...rest] = error.message.split("\n").filter((line) => line.trim() !== "");
  if (error.constructor.name === "GPUOutOfMemoryError")
    return failure("device/out-of-memory", `the device has no memory left for ${activity}`, {
      help: "use a smaller model, fewer sequences or a smaller capacity",
      notes: [first, ...rest],
    });
  return failure("device/invalid", `the device refused ${activity}: ${first}`, { notes: rest });
}

function describeLoss(info: GPUDeviceLostInfo, activity: string): MoeError {
  return failure("device/lost", `the device was lost during ${activity}`, {
    help: "open a new device; when it happens again, the kernel named here runs too long or reads out of bounds",
    notes: info.message === "" ? [] : [info.message],
  });
}
