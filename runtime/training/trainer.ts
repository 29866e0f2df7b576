/**
 * The GPU's side of training: sequences through a plan's entry `micro`, which adds up losses and gradients, then `update`. Nothing is made
 * during a step, and nothing is waited for but the few numbers that a step reports, which ride on its last submit.
 */
import { GRADIENT, OPTIMIZER, stateId, STEP_LOSS, STEP_METRIC, VERDICT } from "../../compiler/index.ts";
import { type Binding, evaluateSize, type HostValues, type Parameter, type Plan } from "../../compiler/plan/plan.ts";
import { Buffers } from "../gpu/buffers.ts";
import type { Device } from "../gpu/device.ts";
import { Executor, findEntry } from "../gpu/execute.ts";
import type { UploadedParameters } from "../gpu/parameters.ts";
import { StagingPool } from "../gpu/readback.ts";
import { packPart } from "../gpu/layout.ts";
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
  /** What layers state, each by its name, as it is in `loss`. */
  readonly terms: Readonly<Record<string, number>>;
  /** Of all gradients together, before clipping. */
  readonly norm: number;
  /** False where a gradient was not finite: nothing has changed then. */
  readonly applied: boolean;
  /** Where they were asked for: metrics by path and name, added up over the step's sequences. */
  readonly metrics: ReadonlyMap<string, Float32Array>;
}

const MICRO = "micro.whole";

export class Trainer {
  readonly #executor: Executor;
  readonly #staging: StagingPool;
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #losses: readonly string[];
  readonly #metrics: readonly string[];
  /** Of a micro-batch. */
  readonly sequences: number;
  #host: HostValues | null = null;

  private constructor(executor: Executor, device: Device, sequences: number) {
    const { plan } = executor;
    this.#executor = executor;
    this.sequences = sequences;
    this.#staging = new StagingPool(device);
    this.#parameters = new Map(plan.parameters.map((p) => [p.path, p]));
    const kept = plan.buffers.flatMap((b) => (b.role === "kept" ? [b.id] : []));
    this.#losses = kept.filter((id) => id.startsWith(STEP_LOSS));
    this.#metrics = kept.filter((id) => id.startsWith(STEP_METRIC));
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
    await executor.prepare(
      plan.entries.filter((e) => e.phase !== "infer" || e.name === "nll.whole").map((e) => e.name),
    );
    return new Trainer(executor, device, sequences);
  }

  get plan(): Plan {
    return this.#executor.plan;
  }

  /** Paths of the parameters that have a gradient. */
  get trained(): readonly string[] {
    return this.plan.buffers.flatMap(({ id, kept }) => (id.startsWith(GRADIENT) ? (kept?.of ?? []) : []));
  }

  /** What the optimizer remembers: by name and the path of the parameter. */
  get states(): readonly { readonly state: string; readonly path: string }[] {
    return this.plan.buffers.flatMap(({ id, kept }) => {
      const path = kept?.of ?? null;
      if (path === null || !id.startsWith(OPTIMIZER)) return [];
      return [{ state: id.slice(OPTIMIZER.length, -path.length - 1), path }];
    });
  }

  get executor(): Executor {
    return this.#executor;
  }

  /** Says what the host's numbers of an optimizer step are, before its first micro-batch. */
  begin(host: HostValues): void {
    this.#host = host;
    this.#executor.buffers.writeScalars(host);
  }

  /** The same where the micro-batches of a step are to be run again instead of ending it. */
  restart(host: HostValues): void {
    this.#executor.buffers.endStep();
    this.begin(host);
  }

  /** Adds up the shares of a micro-batch of as many sequences as the plan is for. */
  async micro({ ids, target, counted }: MicroBatch): Promise<void> {
    const T = ids.length / this.sequences;
    const bits = new Uint32Array(counted.buffer, counted.byteOffset, counted.length);
    this.#writeInputs(MICRO, T, { ids, target, counted: bits });
    await this.#executor.run(MICRO, { T, Q: T, S: 1, P: T });
    if (this.#host === null) return;
    this.#host = { ...this.#host, drawn: this.#host.drawn + this.sequences };
    this.#executor.buffers.writeScalars(this.#host);
  }

  /**
   * Ends the optimizer step: parameters change, unless a gradient is not finite. What it came to is read when it is asked for, once; `metrics`
   * says whether what is added up of those is read as well.
   */
  async update(metrics = false): Promise<() => Promise<StepReport>> {
    const { buffers } = this.#executor;
    const ids = [VERDICT.norm, VERDICT.finite, ...this.#losses, ...(metrics ? this.#metrics : [])];
    const reads = new Map(
      ids.map((id) => {
        const { buffer } = buffers.find({ kind: "buffer", id });
        return [id, this.#staging.read(buffer, 4 * this.#elementsOf(id))] as const;
      }),
    );
    await this.#executor.run("update", buffers.sizes, [...reads.values()]);
    return async () => {
      const values = new Map<string, Float32Array>();
      for (const [id, readback] of reads) values.set(id, new Float32Array(await readback.take()));
      const first = (id: string): number => values.get(id)![0]!;
      const losses = this.#losses.map((id) => [id.slice(STEP_LOSS.length), first(id)] as const);
      const all = new Map(losses);
      return {
        loss: all.get("loss")!,
        nll: all.get("nll")!,
        terms: Object.fromEntries(
          losses.flatMap(([name, x]) => (name.startsWith("loss.") ? [[name.slice("loss.".length), x]] : [])),
        ),
        norm: first(VERDICT.norm),
        applied: first(VERDICT.finite) === 1,
        metrics: new Map(metrics ? this.#metrics.map((id) => [id.slice(STEP_METRIC.length), values.get(id)!]) : []),
      };
    };
  }

  /** What each token of a batch costs in nats as the parameters are now, f32 [sequences, T]. */
  async evaluate({ ids, target }: Pick<MicroBatch, "ids" | "target">): Promise<Float32Array> {
    const { buffers } = this.#executor;
    const T = ids.length / this.sequences;
    this.#writeInputs("nll.whole", T, { ids, target });
    const { buffer } = buffers.find({ kind: "buffer", id: "nll" });
    const readback = this.#staging.read(buffer, ids.length * 4);
    await this.#executor.run("nll.whole", { T, Q: T, S: 1, P: T }, [readback]);
    return new Float32Array(await readback.take());
  }

  /** What is kept under an id, in its own order. */
  async readKept(id: string): Promise<Float32Array> {
    return this.#read({ kind: "buffer", id });
  }

  /** The gradient of a parameter as it has come to so far, f32 row-major over the parameter's axes. */
  readGradient(path: string): Promise<Float32Array> {
    return this.#unpacked(path, () => ({ kind: "buffer", id: `${GRADIENT}${path}` }));
  }

  /** What the optimizer remembers of a parameter, f32 row-major over the parameter's axes. */
  readState(state: string, path: string): Promise<Float32Array> {
    return this.#unpacked(path, () => ({ kind: "buffer", id: stateId(state, path) }));
  }

  /** Puts back what `readState` gave. */
  writeState(state: string, path: string, values: Float32Array<ArrayBuffer>): void {
    const parameter = this.#parameterOf(path);
    const { buffer } = this.#executor.buffers.find({ kind: "buffer", id: stateId(state, path) });
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (const chunk of packPart(parameter, 0, { dtype: "f32", bytes }))
      this.#executor.device.gpu.queue.writeBuffer(buffer, chunk.offset, chunk.bytes);
  }

  /** A parameter, f32 row-major over its axes. */
  readParameter(path: string): Promise<Float32Array> {
    return this.#unpacked(path, (part) => ({ kind: "parameter", path, part }));
  }

  destroy(): void {
    this.#staging.destroy();
    this.#executor.buffers.destroy();
  }

  /** Of something kept. */
  #elementsOf(id: string): number {
    return evaluateSize(this.plan.buffers.find((b) => b.id === id)!.elements, {});
  }

  #writeInputs(entry: string, T: number, given: Readonly<Record<string, Uint32Array<ArrayBuffer>>>): void {
    const inputs: Readonly<Record<string, Uint32Array<ArrayBuffer>>> = {
      ...given,
      position: Uint32Array.from({ length: T }, (_, i) => i),
      slot: new Uint32Array(T),
      length: new Uint32Array(T).fill(T),
      wanted: Uint32Array.from({ length: T }, (_, i) => i),
      runs: Uint32Array.of(0, T),
    };
    for (const id of findEntry(this.plan, entry).inputs) {
      const values = inputs[id];
      if (values === undefined) throw new Error(`entry ${entry} wants ${id}, which training does not have`);
      this.#executor.buffers.writeInput(id, values);
    }
  }

  #parameterOf(path: string): Parameter {
    const parameter = this.#parameters.get(path);
    if (parameter === undefined) throw new Error(`the plan has no parameter ${path}`);
    return parameter;
  }

  async #unpacked(path: string, bindingOf: (part: number) => Binding): Promise<Float32Array> {
    const parameter = this.#parameterOf(path);
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
