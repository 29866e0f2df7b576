/**
 * The GPU's side of training: sequences through a plan's entry `micro`, which adds up losses and gradients, then `update`. Nothing is made
 * during a step, and nothing is waited for but the few numbers that a step reports, which ride on its last submit.
 */
import { VERDICT } from "../../compiler/index.ts";
import type { Binding, HostValues, Parameter, Plan } from "../../compiler/plan/plan.ts";
import { Buffers } from "../gpu/buffers.ts";
import type { Device } from "../gpu/device.ts";
import { Executor } from "../gpu/execute.ts";
import type { UploadedParameters } from "../gpu/parameters.ts";
import { type Readback, StagingPool } from "../gpu/readback.ts";
import { unpackPart } from "../gpu/unpack.ts";

/** Sequences of one length, one after another: what each token is, what comes next, and whether that counts (1) or not (0). */
export interface MicroBatch {
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly target: Uint32Array<ArrayBuffer>;
  readonly counted: Float32Array<ArrayBuffer>;
}

/** What an optimizer step came to. */
export interface StepReport {
  /** In nats per counted token, with what layers state. */
  readonly loss: number;
  /** Without it. */
  readonly nll: number;
  /** Of all gradients together, before clipping. */
  readonly norm: number;
  /** False where a gradient was not finite: nothing has changed then. */
  readonly applied: boolean;
}

const MICRO = "micro.whole";

export class Trainer {
  readonly #executor: Executor;
  readonly #staging: StagingPool;
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #inputs: ReadonlySet<string>;
  readonly #sequences: number;

  private constructor(executor: Executor, device: Device, sequences: number) {
    const { plan } = executor;
    this.#executor = executor;
    this.#sequences = sequences;
    this.#staging = new StagingPool(device);
    this.#parameters = new Map(plan.parameters.map((p) => [p.path, p]));
    this.#inputs = new Set(plan.entries.find((e) => e.name === MICRO)?.inputs);
  }

  /**
   * For micro-batches of so many sequences of so many tokens; owns the parameters from here on. Throws `device/out-of-memory`,
   * `device/too-large`.
   */
  static async open(
    device: Device,
    plan: Plan,
    parameters: UploadedParameters,
    { sequences, tokens }: { readonly sequences: number; readonly tokens: number },
  ): Promise<Trainer> {
    const buffers = await Buffers.allocate(device, plan, parameters, { T: tokens, Q: tokens, S: 1, P: tokens });
    const executor = new Executor(device, plan, buffers);
    await executor.prepare(plan.entries.filter((e) => e.phase !== "infer").map((e) => e.name));
    return new Trainer(executor, device, sequences);
  }

  get plan(): Plan {
    return this.#executor.plan;
  }

  get executor(): Executor {
    return this.#executor;
  }

  /** Says what the host's numbers of an optimizer step are, before its first micro-batch. */
  begin(host: HostValues): void {
    this.#executor.buffers.writeScalars(host);
  }

  /** Adds up the shares of a micro-batch of as many sequences as the plan is for. */
  async micro({ ids, target, counted }: MicroBatch): Promise<void> {
    const { buffers } = this.#executor;
    const T = ids.length / this.#sequences;
    const all = Uint32Array.from({ length: T }, (_, i) => i);
    const inputs = {
      ids,
      target,
      counted: new Uint32Array(counted.buffer, counted.byteOffset, counted.length),
      position: all,
      slot: new Uint32Array(T),
      length: new Uint32Array(T).fill(T),
      runs: Uint32Array.of(0, T),
    };
    for (const [id, values] of Object.entries(inputs)) if (this.#inputs.has(id)) buffers.writeInput(id, values);
    await this.#executor.run(MICRO, { T, Q: T, S: 1, P: T });
  }

  /** Ends the optimizer step: parameters change, unless a gradient is not finite. What it came to is read when it is asked for, once. */
  async update(): Promise<() => Promise<StepReport>> {
    const [loss, nll, norm, finite] = ["loss", "nll", VERDICT.norm, VERDICT.finite].map((id) =>
      this.#staging.read(this.#executor.buffers.find({ kind: "buffer", id }).buffer, 4),
    ) as [Readback, Readback, Readback, Readback];
    const T = 1;
    await this.#executor.run("update", { T, Q: T, S: 1, P: T }, [loss, nll, norm, finite]);
    const take = async (readback: Readback): Promise<number> => new Float32Array(await readback.take())[0]!;
    return async () => ({
      loss: await take(loss),
      nll: await take(nll),
      norm: await take(norm),
      applied: (await take(finite)) === 1,
    });
  }

  /** What is kept under an id, in its own order. */
  async readKept(id: string): Promise<Float32Array> {
    return this.#read({ kind: "buffer", id });
  }

  /** The gradient of a parameter as it has come to so far, f32 row-major over the parameter's axes. */
  readGradient(path: string): Promise<Float32Array> {
    return this.#unpacked(path, () => ({ kind: "buffer", id: `grad.${path}` }));
  }

  /** A parameter, f32 row-major over its axes. */
  readParameter(path: string): Promise<Float32Array> {
    return this.#unpacked(path, (part) => ({ kind: "parameter", path, part }));
  }

  destroy(): void {
    this.#staging.destroy();
    this.#executor.buffers.destroy();
  }

  async #unpacked(path: string, bindingOf: (part: number) => Binding): Promise<Float32Array> {
    const parameter = this.#parameters.get(path);
    if (parameter === undefined) throw new Error(`the plan has no parameter ${path}`);
    const into = new Float32Array(parameter.axes.reduce((n, axis) => n * axis.size, 1));
    for (const part of parameter.parts.keys()) unpackPart(parameter, part, await this.#read(bindingOf(part)), into);
    return into;
  }

  async #read(binding: Binding): Promise<Float32Array> {
    const { buffer } = this.#executor.buffers.find(binding);
    const readback = this.#staging.read(buffer, buffer.size);
    const encoder = this.#executor.device.gpu.createCommandEncoder();
    readback.after(encoder);
    this.#executor.submit(encoder, "reading back what was trained");
    return new Float32Array(await readback.take());
  }
}
