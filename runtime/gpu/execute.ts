/**
 * Runs entries of a plan. An entry becomes a flat list of [pipeline, bind group, workgroups] once; a step then encodes that
 * list into one pass of one command buffer. Bind groups are made again only after buffers grew, workgroup counts only
 * when the step's sizes changed.
 */
import {
  type Binding,
  type Dispatch,
  type Entry,
  evaluateSize,
  fillIndex,
  type KernelModule,
  type Plan,
} from "../../compiler/plan/plan.ts";
import type { Buffers, StepSizes } from "./buffers.ts";
import type { Device } from "./device.ts";
import { type Pipeline, Pipelines } from "./pipelines.ts";

/** How much was done since the executor was made; tests hold steps to it. */
export interface Counters {
  submits: number;
  dispatches: number;
  bindGroups: number;
}

/** A dispatch of a flat list, with its repeat's index in place of `#`. */
export interface Step {
  readonly dispatch: Dispatch;
  readonly module: KernelModule;
  readonly pipeline: Pipeline;
  readonly bindings: readonly Binding[];
}

/** Something that adds its own dispatches or copies to a step. */
export interface Encodes {
  pass?(pass: GPUComputePassEncoder): void;
  after?(encoder: GPUCommandEncoder): void;
}

interface Prepared {
  readonly phase: Entry["phase"];
  readonly readsScalars: boolean;
  readonly steps: readonly Step[];
  groups: readonly GPUBindGroup[];
  /** Buffers' generation that the groups are of. */
  generation: number;
  /** x, y, z per step, for `sizes`. */
  readonly grid: Uint32Array;
  sizes: StepSizes | null;
}

export class Executor {
  readonly device: Device;
  readonly plan: Plan;
  readonly buffers: Buffers;
  readonly counters: Counters = { submits: 0, dispatches: 0, bindGroups: 0 };
  readonly #entries = new Map<string, Prepared>();

  constructor(device: Device, plan: Plan, buffers: Buffers) {
    this.device = device;
    this.plan = plan;
    this.buffers = buffers;
  }

  /** Makes the pipelines of the entries, all at once; an entry that was not prepared is prepared when it first runs. */
  async prepare(names: readonly string[]): Promise<void> {
    const missing = names.filter((name) => !this.#entries.has(name));
    const entries = missing.map((name) => findEntry(this.plan, name));
    const lists = entries.map((entry) => flatten(this.plan, entry));
    const made = await Pipelines.of(this.device).make(
      lists.flat().map(({ dispatch, module }) => ({ ...dispatch, module })),
    );
    let at = 0;
    missing.forEach((name, i) => {
      const steps = lists[i]!.map((step): Step => ({ ...step, pipeline: made[at++]! }));
      const { phase } = entries[i]!;
      const readsScalars = steps.some(({ bindings }) => bindings.some((b) => b.kind === "scalars"));
      const grid = new Uint32Array(steps.length * 3);
      this.#entries.set(name, { phase, readsScalars, steps, groups: [], generation: -1, grid, sizes: null });
    });
  }

  /** The flat list of an entry, for profiles. */
  async stepsOf(name: string): Promise<readonly Step[]> {
    await this.prepare([name]);
    return this.#entries.get(name)!.steps;
  }

  /**
   * Runs one step of an entry whose inputs were written: one submit, not awaited. Buffers must fit `sizes`. `more` are
   * encoded in order after the entry's own dispatches.
   */
  async run(name: string, sizes: StepSizes, more: readonly Encodes[] = []): Promise<void> {
    await this.prepare([name]);
    this.device.check();
    this.buffers.writeStep(sizes);
    const prepared = this.#current(name, sizes);
    this.#begin(name, prepared);
    const encoder = this.device.gpu.createCommandEncoder({ label: name });
    const pass = encoder.beginComputePass();
    for (let i = 0; i < prepared.steps.length; i++) this.#encode(pass, prepared, i);
    for (const extra of more) extra.pass?.(pass);
    pass.end();
    for (const extra of more) extra.after?.(encoder);
    this.submit(encoder, `entry \`${name}\` of ${this.plan.model}`);
    this.#end(prepared);
  }

  /** The same with one pass per dispatch; `writes` gives each its timestamps. For the profiler. */
  async runTimed(
    name: string,
    sizes: StepSizes,
    writes: (i: number) => GPUComputePassTimestampWrites,
    more: Encodes,
  ): Promise<void> {
    await this.prepare([name]);
    this.device.check();
    this.buffers.writeStep(sizes);
    const prepared = this.#current(name, sizes);
    this.#begin(name, prepared);
    const encoder = this.device.gpu.createCommandEncoder({ label: name });
    for (let i = 0; i < prepared.steps.length; i++) {
      const pass = encoder.beginComputePass({ timestampWrites: writes(i) });
      this.#encode(pass, prepared, i);
      pass.end();
    }
    more.after?.(encoder);
    this.submit(encoder, `the profile of \`${name}\``);
    this.#end(prepared);
  }

  submit(encoder: GPUCommandEncoder, activity: string): void {
    this.device.activity = activity;
    this.device.gpu.queue.submit([encoder.finish()]);
    this.counters.submits++;
  }

  /** A bind group in the order of `bindings`. */
  bind(
    pipeline: Pipeline,
    bindings: readonly { readonly buffer: GPUBuffer; readonly size?: number }[],
    label: string,
  ): GPUBindGroup {
    this.counters.bindGroups++;
    return this.device.gpu.createBindGroup({
      label,
      layout: pipeline.groupLayout,
      entries: bindings.map((resource, binding) => ({ binding, resource })),
    });
  }

  #begin(name: string, { phase, readsScalars }: Prepared): void {
    if (readsScalars && !this.buffers.hasScalars)
      throw new Error(`entry ${name} reads the host's numbers, which were not written for this optimizer step`);
    if (phase === "micro") this.buffers.beginMicro();
  }

  #end({ phase }: Prepared): void {
    if (phase === "update") this.buffers.endStep();
  }

  #encode(pass: GPUComputePassEncoder, { steps, groups, grid }: Prepared, i: number): void {
    const [x, y, z] = [grid[3 * i]!, grid[3 * i + 1]!, grid[3 * i + 2]!];
    if (x === 0 || y === 0 || z === 0) return;
    pass.setPipeline(steps[i]!.pipeline.handle);
    pass.setBindGroup(0, groups[i]!);
    pass.dispatchWorkgroups(x, y, z);
    this.counters.dispatches++;
  }

  #current(name: string, sizes: StepSizes): Prepared {
    const prepared = this.#entries.get(name)!;
    if (prepared.generation !== this.buffers.generation) {
      prepared.groups = this.#bindAll(prepared.steps);
      prepared.generation = this.buffers.generation;
    }
    const last = prepared.sizes;
    if (last === null || this.plan.symbols.some((symbol) => last[symbol] !== sizes[symbol])) {
      prepared.steps.forEach(({ dispatch }, i) => prepared.grid.set(foldGrid(dispatch, sizes, this.device), 3 * i));
      prepared.sizes = sizes;
    }
    return prepared;
  }

  /** Steps that bind the same buffers to the same kind of kernel share a group. */
  #bindAll(steps: readonly Step[]): readonly GPUBindGroup[] {
    const made = new Map<string, GPUBindGroup>();
    return steps.map(({ dispatch, module, pipeline, bindings }) => {
      const key = `${module.bindings.join()} ${JSON.stringify(bindings)}`;
      const group =
        made.get(key) ??
        this.bind(
          pipeline,
          bindings.map((b) => this.buffers.find(b)),
          dispatch.label,
        );
      made.set(key, group);
      return group;
    });
  }
}

/** Throws when the plan has no such entry. */
export function findEntry(plan: Plan, name: string): Entry {
  const entry = plan.entries.find((e) => e.name === name);
  if (entry === undefined)
    throw new Error(`${plan.model} has no entry ${name}, only ${plan.entries.map((e) => e.name).join(", ")}`);
  return entry;
}

/** Workgroups of a dispatch. What passes the limit in x goes on in y: kernels count x + y * num_workgroups.x. */
export function foldGrid(dispatch: Dispatch, sizes: StepSizes, device: Device): [number, number, number] {
  const [x, y, z] = dispatch.grid.map((size) => evaluateSize(size, sizes)) as [number, number, number];
  const folds = Math.ceil(x / device.facts.maxWorkgroups);
  return folds <= 1 ? [x, y, z] : [Math.ceil(x / folds), folds * y, z];
}

function flatten(plan: Plan, entry: Entry): Omit<Step, "pipeline">[] {
  const modules = new Map(plan.modules.map((m) => [m.id, m]));
  const place = (dispatch: Dispatch, index: number | null): Omit<Step, "pipeline"> => {
    const module = modules.get(dispatch.module);
    if (module === undefined)
      throw new Error(`entry ${entry.name} runs module ${dispatch.module}, which the plan does not have`);
    return { dispatch, module, bindings: dispatch.bindings.map((b) => (index === null ? b : fillIndex(b, index))) };
  };
  return entry.steps.flatMap((step) =>
    step.kind === "dispatch"
      ? [place(step, null)]
      : step.indices.flatMap((index) => step.steps.map((s) => place(s, index))),
  );
}
