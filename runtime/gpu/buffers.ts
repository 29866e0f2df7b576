/**
 * Everything of a plan that lives on the GPU besides its parameters, sized for the largest step asked for so far: tables,
 * states, inputs, outputs and temporaries. Temporaries of one share class are one buffer. Growing replaces buffers and
 * keeps what states hold; `generation` then changes, and bind groups made before are stale.
 */
import {
  type Binding,
  type Buffer,
  evaluateSize,
  heldBytes,
  type HostValues,
  type Kept,
  type Plan,
  type SizeValues,
  type Table,
} from "../../compiler/plan/plan.ts";
import { compileScalar } from "../../compiler/plan/scalar.ts";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import type { Device } from "./device.ts";
import { BufferUsage } from "./flags.ts";
import type { UploadedParameters } from "./parameters.ts";

/** The symbols of sizes: tokens of a step, rows wanted, sequences, positions that a cache holds. */
export interface StepSizes extends SizeValues {
  readonly T: number;
  readonly Q: number;
  readonly S: number;
  readonly P: number;
}

/** Bytes on the GPU by purpose. */
export interface MemoryReport {
  readonly parameters: number;
  readonly tables: number;
  readonly states: number;
  readonly work: number;
}

export class Buffers {
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #parameters: UploadedParameters;
  readonly #step: GPUBuffer;
  readonly #scalars: GPUBuffer;
  readonly #tables = new Map<string, GPUBuffer>();
  readonly #states = new Map<string, GPUBuffer>();
  /** By share class, or by id for buffers of their own. */
  readonly #work = new Map<string, GPUBuffer>();
  readonly #declared: ReadonlyMap<string, Buffer>;
  #sizes: StepSizes;
  #written = "";
  /** Whether `kept` buffers hold what an optimizer step has added up so far. */
  #isWithinStep = false;
  #hasScalars = false;
  #isOpen = true;
  generation = 0;

  private constructor(device: Device, plan: Plan, parameters: UploadedParameters, sequences: number) {
    this.#device = device;
    this.#plan = plan;
    this.#parameters = parameters;
    this.#declared = new Map(plan.buffers.map((b) => [b.id, b]));
    this.#sizes = { T: 0, Q: 0, S: sequences, P: 0 };
    const uniform = (label: string, words: number): GPUBuffer =>
      device.gpu.createBuffer({
        label,
        size: Math.max(1, Math.ceil(words / 4)) * 16,
        usage: BufferUsage.UNIFORM | BufferUsage.COPY_DST,
      });
    this.#step = uniform("step", plan.symbols.length);
    this.#scalars = uniform("scalars", plan.scalars.length);
  }

  /** Allocates for steps up to `sizes`, and owns the parameters from here on. Throws `device/out-of-memory`, `device/too-large`. */
  static async allocate(
    device: Device,
    plan: Plan,
    parameters: UploadedParameters,
    sizes: StepSizes,
  ): Promise<Buffers> {
    const buffers = new Buffers(device, plan, parameters, sizes.S);
    try {
      await buffers.ensure(sizes);
      buffers.beginRun();
      return buffers;
    } catch (error) {
      buffers.destroy();
      throw error;
    }
  }

  /** False after `destroy`; what uses buffers then throws `session/closed`. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The largest step that fits now. */
  get sizes(): StepSizes {
    return this.#sizes;
  }

  get memory(): MemoryReport {
    const sum = (buffers: ReadonlyMap<string, GPUBuffer>): number =>
      [...buffers.values()].reduce((n, b) => n + b.size, 0);
    const { bytes } = this.#parameters;
    return { parameters: bytes, tables: sum(this.#tables), states: sum(this.#states), work: sum(this.#work) };
  }

  /** Grows where a step of these sizes does not fit; `S` is fixed. States keep their contents. */
  async ensure({ T, Q, P }: Pick<StepSizes, "T" | "Q" | "P">): Promise<void> {
    this.#checkOpen();
    const old = this.#sizes;
    const sizes = { T: Math.max(T, old.T), Q: Math.max(Q, old.Q), S: old.S, P: Math.max(P, old.P) };
    // The first time there is nothing yet, whatever the sizes.
    const isFirst = this.generation === 0;
    if (!isFirst && sizes.T === old.T && sizes.Q === old.Q && sizes.P === old.P) return;
    this.generation++;
    if (isFirst || sizes.P > old.P) await this.#growContext(old, sizes);
    await this.#growWork(sizes);
    this.#sizes = sizes;
  }

  /** The buffer of a binding whose `#` is filled in, and how many bytes of it are bound. */
  find(binding: Binding): { readonly buffer: GPUBuffer; readonly size: number } {
    this.#checkOpen();
    const whole = (buffer: GPUBuffer | undefined): { buffer: GPUBuffer; size: number } => {
      if (buffer === undefined) throw new Error(`the plan binds ${JSON.stringify(binding)}, which it does not declare`);
      return { buffer, size: buffer.size };
    };
    switch (binding.kind) {
      case "step":
        return whole(this.#step);
      case "scalars":
        return whole(this.#scalars);
      case "parameter":
        return whole(this.#parameters.find(binding.path, binding.part));
      case "table":
        return whole(this.#tables.get(binding.id));
      case "state":
        return whole(this.#states.get(binding.id));
      case "buffer": {
        const declared = this.#declared.get(binding.id);
        const { buffer } = whole(declared && this.#work.get(placeOf(declared)));
        return { buffer, size: bytesOf(declared!, this.#sizes) };
      }
    }
  }

  /** Makes the uniform buffer of the step say `sizes`, if it does not yet. */
  writeStep(sizes: StepSizes): void {
    this.#checkOpen();
    const words = Uint32Array.from(this.#plan.symbols, (symbol) => evaluateSize(symbol, sizes));
    if (words.join() === this.#written) return;
    this.#written = words.join();
    this.#device.gpu.queue.writeBuffer(this.#step, 0, words);
  }

  /** Works out the plan's scalars in float64 and writes them, for one optimizer step. Throws `train/scalar` where one is not finite. */
  writeScalars(host: HostValues): void {
    this.#checkOpen();
    const names = Object.keys(host) as (keyof HostValues)[];
    const at = Float64Array.from(names, (name) => host[name]);
    const values = Float32Array.from(this.#plan.scalars, ({ expr }) => compileScalar(expr, names)(at));
    const wrong = values.findIndex((x) => !Number.isFinite(x));
    if (wrong >= 0)
      throw failure(
        "train/scalar",
        `\`${this.#plan.scalars[wrong]!.id}\` is ${values[wrong]} in optimizer step ${host.step} of ${host.steps}`,
        {
          notes: [`it is worked out from ${names.map((name) => `${name} = ${host[name]}`).join(", ")}`],
          help: "look for a division by zero, or a root or logarithm of what is negative, where it is defined",
        },
      );
    this.#device.gpu.queue.writeBuffer(this.#scalars, 0, values);
    this.#hasScalars = true;
  }

  /** Whether the scalars are those of this optimizer step. */
  get hasScalars(): boolean {
    return this.#hasScalars;
  }

  /** All that is kept is as at the start again, and the next micro-batch begins a step. Parameters stay as they are. */
  beginRun(): void {
    this.#reset("run");
    this.endStep();
  }

  /** The first micro-batch of an optimizer step finds at their initial values what is kept for a step alone. */
  beginMicro(): void {
    if (!this.#isWithinStep) this.#reset("step");
    this.#isWithinStep = true;
  }

  /** After `update`: the next micro-batch begins another optimizer step, with scalars of its own. */
  endStep(): void {
    this.#isWithinStep = false;
    this.#hasScalars = false;
  }

  /** Writes the first elements of an input buffer. */
  writeInput(id: string, values: Uint32Array<ArrayBuffer>): void {
    this.#device.gpu.queue.writeBuffer(this.find({ kind: "buffer", id }).buffer, 0, values);
  }

  /** Writes what one sequence has once: its part for a slot. */
  writePerSequence(id: string, slot: number, values: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): void {
    const { buffer } = this.find({ kind: "buffer", id });
    this.#device.gpu.queue.writeBuffer(buffer, slot * values.byteLength, values);
  }

  /** Zeroes what the states hold of one sequence; nothing after `destroy`. */
  clearSequence(slot: number): void {
    if (!this.#isOpen) return;
    const encoder = this.#device.gpu.createCommandEncoder();
    for (const state of this.#plan.states) {
      const own = heldBytes(state, this.#sizes) / this.#sizes.S;
      encoder.clearBuffer(this.#states.get(state.id)!, slot * own, own);
    }
    this.#device.gpu.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    this.#isOpen = false;
    for (const map of [this.#tables, this.#states, this.#work]) map.forEach((b) => b.destroy());
    this.#step.destroy();
    this.#scalars.destroy();
    this.#parameters.destroy();
  }

  /** Tables and states depend on the context alone. A state is [S, P, ...], so a sequence's old part is a prefix of its new one. */
  async #growContext(old: StepSizes, sizes: StepSizes): Promise<void> {
    for (const table of this.#plan.tables) {
      const values = fillTable(table, sizes);
      const buffer = await this.#create(`table \`${table.id}\``, Math.max(16, values.byteLength));
      this.#device.gpu.queue.writeBuffer(buffer, 0, values);
      replace(this.#tables, table.id, buffer);
    }
    const encoder = this.#device.gpu.createCommandEncoder();
    const made = new Map<string, GPUBuffer>();
    for (const state of this.#plan.states) {
      const { id } = state;
      const buffer = await this.#create(
        `state \`${id}\` for ${sizes.S} × ${sizes.P} positions`,
        whole(heldBytes(state, sizes)),
      );
      const [before, after] = [old, sizes].map((at) => heldBytes(state, at) / at.S) as [number, number];
      const held = this.#states.get(id);
      for (let slot = 0; held !== undefined && slot < sizes.S; slot++)
        encoder.copyBufferToBuffer(held, slot * before, buffer, slot * after, before);
      made.set(id, buffer);
    }
    this.#device.gpu.queue.submit([encoder.finish()]);
    made.forEach((buffer, id) => replace(this.#states, id, buffer));
  }

  async #growWork(sizes: StepSizes): Promise<void> {
    const wanted = new Map<string, number>();
    for (const buffer of this.#plan.buffers) {
      const key = placeOf(buffer);
      wanted.set(key, Math.max(wanted.get(key) ?? 0, bytesOf(buffer, sizes)));
    }
    for (const [key, bytes] of wanted) {
      if ((this.#work.get(key)?.size ?? 0) >= bytes) continue;
      // The old one first: both together may not fit.
      this.#work.get(key)?.destroy();
      this.#work.delete(key);
      this.#work.set(key, await this.#create(`\`${key}\` of a step of ${sizes.T} tokens`, bytes));
    }
  }

  /** All elements of kept buffers at their initial values; at the start of a run, of all of them. */
  #reset(reset: Kept["reset"]): void {
    const encoder = this.#device.gpu.createCommandEncoder();
    for (const { id, kept, type } of this.#plan.buffers) {
      if (kept === null || (reset === "step" && kept.reset !== "step")) continue;
      const { buffer } = this.find({ kind: "buffer", id });
      if (kept.initial === 0) {
        encoder.clearBuffer(buffer);
        continue;
      }
      const count = buffer.size / 4;
      const values = type === "f32" ? new Float32Array(count) : new Uint32Array(count);
      this.#device.gpu.queue.writeBuffer(buffer, 0, values.fill(kept.initial));
    }
    this.#device.gpu.queue.submit([encoder.finish()]);
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw sessionClosed();
  }

  async #create(what: string, bytes: number): Promise<GPUBuffer> {
    const { maxBinding, maxBuffer } = this.#device.facts;
    const limit = Math.min(maxBinding, maxBuffer);
    if (bytes > limit)
      throw failure("device/too-large", `${what} takes ${bytes} bytes, and this device binds at most ${limit}`, {
        help: "use fewer sequences or a smaller capacity",
      });
    const usage = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST;
    const buffer = await this.#device.guard(`${what} (${bytes} bytes)`, () =>
      this.#device.gpu.createBuffer({ label: what, size: bytes, usage }),
    );
    if (!this.#isOpen) buffer.destroy();
    this.#checkOpen();
    return buffer;
  }
}

export function sessionClosed(): MoeError {
  return failure("session/closed", "the session was closed", { help: "open another one" });
}

/** The most tokens, up to `most`, of a step whose buffers this device can bind. */
export function fitTokens(plan: Plan, device: Device, most: number, sizesOf: (tokens: number) => StepSizes): number {
  const limit = Math.min(device.facts.maxBinding, device.facts.maxBuffer);
  const fits = (tokens: number): boolean => plan.buffers.every((b) => bytesOf(b, sizesOf(tokens)) <= limit);
  let tokens = most;
  while (tokens > 1 && !fits(tokens)) tokens = Math.ceil(tokens / 2);
  return tokens;
}

function placeOf(buffer: Buffer): string {
  return buffer.share === null ? buffer.id : `shared ${buffer.share}`;
}

/** As it is allocated. */
export function bytesOf(buffer: Pick<Buffer, "elements" | "store">, sizes: StepSizes): number {
  return whole(heldBytes(buffer, sizes));
}

/** Up to a multiple of 16. */
function whole(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 16) * 16);
}

function replace(map: Map<string, GPUBuffer>, key: string, buffer: GPUBuffer): void {
  map.get(key)?.destroy();
  map.set(key, buffer);
}

/** Row-major values of a table, computed in float64. */
function fillTable(table: Table, sizes: StepSizes): Float32Array<ArrayBuffer> {
  const shape = table.axes.map((axis) => evaluateSize(axis.size, sizes));
  const valueAt = compileScalar(
    table.expr,
    table.axes.map((axis) => axis.name),
  );
  const at = new Float64Array(shape.length);
  const values = new Float32Array(shape.reduce((n, size) => n * size, 1));
  for (let i = 0; i < values.length; i++) {
    values[i] = valueAt(at);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++at[axis]! < shape[axis]!) break;
      at[axis] = 0;
    }
  }
  return values;
}
