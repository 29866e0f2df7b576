/**
 * What the calls of a session share while one of them runs: the slots and how much they hold, a step's inputs, the entry that
 * computes an output, and the output read back. Only `Session` makes one, and hands it to one call at a time.
 */
import { evaluateSize, type Plan, widthOf } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { fitTokens, type StepSizes } from "../gpu/buffers.ts";
import type { Executor } from "../gpu/execute.ts";
import { runsOf, type StepInput, type Stretch } from "./feed.ts";
import { findNotFinite } from "../gpu/finite.ts";
import { notFinite } from "./not-finite.ts";
import { StagingPool } from "../gpu/readback.ts";
import { Slots } from "./slots.ts";

/** Up to so many tokens the `decode` kernels, which read weights once per token or so; above, the tiled ones of `prefill`. */
export const DECODE = 8;
/** Contexts grow by doubling from here, so that a short chat does not pay for a long one. */
export const FIRST_CONTEXT = 256;

export class Steps {
  readonly executor: Executor;
  readonly staging: StagingPool;
  readonly slots: Slots;
  readonly capacity: number;
  /** Size of the vocabulary: columns of `logits`. */
  readonly vocab: number;
  readonly #stepTokens: number;
  readonly #onClose: (() => void)[] = [];

  constructor(executor: Executor, capacity: number, stepTokens: number) {
    this.executor = executor;
    this.staging = new StagingPool(executor.device);
    this.slots = new Slots(executor.buffers.sizes.S);
    this.capacity = capacity;
    const logits = executor.plan.buffers.find((b) => b.role === "output" && b.name === "logits");
    this.vocab = logits === undefined ? 0 : widthOf(logits.elements);
    this.#stepTokens = stepTokens;
  }

  get isOpen(): boolean {
    return this.executor.buffers.isOpen;
  }

  /** Frees everything on the GPU, once. */
  close(): void {
    if (!this.isOpen) return;
    this.staging.destroy();
    this.executor.buffers.destroy();
    // The last first: who came later may use what came before.
    for (const release of this.#onClose.splice(0).reverse()) release();
  }

  /** What else ends with them. */
  onClose(release: () => void): void {
    if (this.isOpen) this.#onClose.push(release);
    else release();
  }

  get sequences(): number {
    return this.slots.count;
  }

  /** Tokens that a slot holds. */
  lengthOf(slot: number): number {
    return this.slots.at(slot).ids.length;
  }

  /** Forgets the sequence of a slot. */
  reset(slot: number): void {
    if (this.lengthOf(slot) > 0) this.executor.buffers.clearSequence(slot);
    this.slots.clear(slot);
  }

  /** True when the plan computes this output in some regime. */
  has(output: string): boolean {
    return this.executor.plan.entries.some((e) => e.output === output);
  }

  /** True of an output that is computed of whole sequences, each in one step and in slot 0. */
  isWhole(output: string): boolean {
    return this.executor.plan.entries.some((e) => e.output === output && e.regime === "whole");
  }

  /** The most tokens of a step in which `rows(T)` of T tokens are wanted: what the device can bind is one limit. */
  mostTokens(rows: (tokens: number) => number, most = this.#stepTokens): number {
    const { buffers, plan, device } = this.executor;
    return fitTokens(plan, device, most, (T) => ({ ...buffers.sizes, T, Q: rows(T) }));
  }

  /** Checks tokens and lengths, makes room, and counts the tokens in. Throws `session/*` before anything runs. */
  async admit(stretches: readonly Stretch[], ahead = 0): Promise<void> {
    let longest = 0;
    for (const { slot, start, ids } of stretches) {
      this.slots.at(slot);
      if (ids.length === 0)
        throw failure("session/empty", `the input for slot ${slot} has no tokens`, { help: "give one at least" });
      const end = start + ids.length + ahead;
      longest = Math.max(longest, end);
      if (end > this.capacity)
        throw failure(
          "session/capacity",
          `slot ${slot} needs ${end} positions, and the session was opened with ${this.capacity}`,
          { help: "open it with a larger `capacity`, or ask for fewer tokens" },
        );
      const limit = this.vocab === 0 ? Number.POSITIVE_INFINITY : this.vocab;
      const wrong = Array.from(ids).findIndex((id) => !Number.isInteger(id) || id < 0 || id >= limit);
      if (wrong >= 0)
        throw failure("session/token-range", `${ids[wrong]} is not a token: the vocabulary has ${this.vocab}`, {
          help: "give ids of this model's tokenizer",
        });
    }
    const { P } = this.executor.buffers.sizes;
    if (longest > P) {
      const grown = Math.min(this.capacity, FIRST_CONTEXT * 2 ** Math.ceil(Math.log2(longest / FIRST_CONTEXT)));
      await this.executor.buffers.ensure({ T: 0, Q: 0, P: grown });
    }
    for (const { slot, start, ids } of stretches) this.slots.hold(slot, start, ids);
  }

  /** Writes a step's inputs and makes room for it. Returns its entry's name and sizes, for `executor.run`. */
  async load(
    output: string,
    input: StepInput,
    targets: Uint32Array<ArrayBuffer> | null = null,
    whole = false,
  ): Promise<{ name: string; sizes: StepSizes }> {
    const { buffers, plan } = this.executor;
    const [T, Q] = [input.ids.length, input.wanted.length];
    await buffers.ensure({ T, Q, P: 0 });
    const entry = this.entryFor(output, T, whole);
    const inputs: Readonly<Record<string, Uint32Array<ArrayBuffer> | null>> = {
      ids: input.ids,
      position: input.position,
      slot: input.slot,
      length: input.length,
      wanted: input.wanted,
      runs: entry.inputs.includes("runs") ? runsOf(input.slot, buffers.sizes.S) : null,
      target: targets,
    };
    for (const id of entry.inputs) {
      const name = plan.buffers.find((b) => b.id === id)!.name;
      const values = inputs[name];
      if (values == null) throw new Error(`entry ${entry.name} reads \`${name}\`, which this call does not give`);
      if (values.length > 0) buffers.writeInput(id, values);
    }
    const { S, P } = buffers.sizes;
    return { name: entry.name, sizes: { T, Q, S, P } };
  }

  /** The entry for an output and a number of tokens, or for a whole sequence; the other regime's where the plan has only that. */
  entryFor(output: string, tokens: number, whole = false): Plan["entries"][number] {
    const of = this.executor.plan.entries.filter((e) => e.output === output);
    const regime = whole ? "whole" : tokens <= DECODE ? "decode" : "prefill";
    const entry = of.find((e) => e.regime === regime) ?? of[0];
    if (entry === undefined)
      throw failure("session/no-output", `the plan of ${this.executor.plan.model} does not compute \`${output}\``, {
        help: `compile it with an entry for \`${output}\``,
      });
    return entry;
  }

  /** The outputs of a step's wanted rows, in their order. Throws `session/not-finite`. */
  async read(
    output: string,
    input: StepInput,
    targets: Uint32Array<ArrayBuffer> | null = null,
    whole = false,
  ): Promise<Float32Array> {
    const { name, sizes } = await this.load(output, input, targets, whole);
    const { buffers, plan } = this.executor;
    const id = this.entryFor(output, sizes.T, whole).outputs[0]!;
    const elements = evaluateSize(plan.buffers.find((b) => b.id === id)!.elements, sizes);
    const read = this.staging.read(buffers.find({ kind: "buffer", id }).buffer, elements * 4);
    await this.executor.run(name, sizes, [read]);
    const values = new Float32Array(await read.take());
    this.checkFinite(output, values, input, input.wanted);
    return values;
  }

  /** Throws `session/not-finite` when a value of these rows, each of a token of the step, is NaN or infinite. */
  checkFinite(output: string, values: Float32Array, input: StepInput, rows: Uint32Array): void {
    const at = findNotFinite("f32", new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    if (at === null) return;
    const token = rows[Math.floor((at * rows.length) / values.length)]!;
    const ids = this.slots.at(input.slot[token]!).ids.slice(0, input.position[token]! + 1);
    throw notFinite(output, this.executor.plan.model, ids);
  }
}
