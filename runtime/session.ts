/**
 * A model on a device, ready to run: sequences in numbered slots with their states, fed in steps of any mix of tokens.
 * One call at a time: steps of two calls would write each other's inputs. `generate` and `score` are in files of their own.
 */
import { evaluateSize, type Plan } from "../compiler/plan/plan.ts";
import { failure } from "../grammar/diagnostic.ts";
import { Buffers, fitTokens, type MemoryReport, type StepSizes } from "./buffers.ts";
import type { Device } from "./device.ts";
import { type Counters, Executor } from "./execute.ts";
import { packSteps, runsOf, type StepInput, type Stretch } from "./feed.ts";
import { generate, type GenerateOptions, type GeneratedToken } from "./generate.ts";
import { type ParameterSource, uploadParameters } from "./parameters.ts";
import { StagingPool } from "./readback.ts";
import { score } from "./score.ts";

export interface SessionOptions {
  readonly plan: Plan;
  readonly device: Device;
  readonly source: ParameterSource;
  /** Slots: how many sequences can be in progress at once. */
  readonly sequences?: number;
  /** The longest sequence, in tokens. Memory for it is taken as sequences grow. */
  readonly capacity?: number;
  /** The most tokens of one step, at most what the plan is made for; longer inputs take several. */
  readonly stepTokens?: number;
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Why the model cannot be fed token by token, where it cannot: told when that is asked for. */
  readonly refusal?: Error;
}

/** Up to here decode kernels (`few`), which read weights once per token or so; above, the tiled ones (`many`). */
const FEW = 8;
/** Contexts grow by doubling from here, so that a short chat does not pay for a long one. */
const FIRST_CONTEXT = 256;

/** Uploads the parameters and allocates. Throws `MoeError`s of the device and what `source` throws. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { plan, device, source, sequences = 1, capacity = 4096, stepTokens = 512 } = options;
  checkFits(plan, device);
  const parameters = await uploadParameters(device, plan, source, options.onProgress);
  const P = Math.min(capacity, FIRST_CONTEXT);
  const most = Math.min(stepTokens, plan.stepTokens);
  const buffers = await Buffers.allocate(device, plan, parameters, { T: FEW, Q: 1, S: sequences, P });
  return new Session(new Executor(device, plan, buffers), capacity, most, options.refusal ?? null);
}

/** A saved plan may have been compiled for another device. Sizes that do not fit are found where they are used. */
function checkFits(plan: Plan, { facts, adapter }: Device): void {
  const used = new Set(plan.modules.flatMap((m) => m.features));
  const { min, max } = facts.subgroup ?? { min: 0, max: 0 };
  const compiled = plan.device.subgroup;
  const missing = [
    ...(used.has("shader-f16") && !facts.f16 ? ["16-bit floats in shaders"] : []),
    ...(used.has("subgroups") && (compiled?.min !== min || compiled.max !== max)
      ? [`subgroups of ${compiled?.min} to ${compiled?.max} lanes`]
      : []),
  ];
  if (missing.length > 0)
    throw failure(
      "plan/device",
      `the plan of ${plan.model} needs ${missing.join(" and ")}, which \`${adapter.name}\` has not`,
      {
        help: "compile the model for this device",
      },
    );
}

export class Session {
  readonly executor: Executor;
  readonly staging: StagingPool;
  readonly sequences: number;
  readonly capacity: number;
  /** Size of the vocabulary: columns of `logits`. */
  readonly vocab: number;
  readonly #stepTokens: number;
  readonly #lengths: number[];
  /** What the sequence of each slot is declared to become; 0 where nobody said. */
  readonly #declared: number[];
  readonly #lastLogits = new Map<number, Float32Array>();
  readonly #onClose: (() => void)[] = [];
  readonly #refusal: Error | null;

  constructor(executor: Executor, capacity: number, stepTokens: number, refusal: Error | null = null) {
    this.#refusal = refusal;
    this.executor = executor;
    this.staging = new StagingPool(executor.device);
    this.sequences = executor.buffers.sizes.S;
    this.capacity = capacity;
    const logits = executor.plan.buffers.find((b) => b.role === "output" && b.name === "logits");
    this.vocab = logits === undefined ? 0 : evaluateSize(logits.elements, { T: 1, Q: 1, S: 1, P: 1 });
    this.#stepTokens = stepTokens;
    this.#lengths = Array.from({ length: this.sequences }, () => 0);
    this.#declared = [...this.#lengths];
  }

  get memory(): MemoryReport {
    return this.executor.buffers.memory;
  }

  get counters(): Readonly<Counters> {
    return this.executor.counters;
  }

  /** Tokens that a slot holds. */
  lengthOf(slot: number): number {
    return this.#lengths[this.#check(slot)]!;
  }

  /**
   * Logits of every token of each sequence, f32 [tokens, vocab], as if each stood alone, by the rule that the model was trained with.
   * Takes over all slots: what they held is gone, and they are empty afterwards. `conditions` are what each sequence has once (`condition`).
   */
  async forward(
    batch: readonly ArrayLike<number>[],
    conditions: readonly Readonly<Record<string, ArrayLike<number>>>[] = [],
  ): Promise<Float32Array[]> {
    const results = batch.map((ids) => new Float32Array(ids.length * this.vocab));
    const begin = (sequence: number, slot: number): void =>
      Object.entries(conditions[sequence] ?? {}).forEach(([name, values]) => this.condition(slot, name, values));
    await this.runFresh(
      batch,
      "logits",
      (values, rows) =>
        rows.forEach(({ sequence, token }, i) =>
          results[sequence]!.set(values.subarray(i * this.vocab, (i + 1) * this.vocab), token * this.vocab),
        ),
      null,
      begin,
    );
    return results;
  }

  /**
   * Says what the sequence of a slot has once, by the name of the model's input: its elements in row-major order, f32 or u32. It stays
   * until it is said again, whatever the slot then holds; before that it is zero.
   */
  condition(slot: number, name: string, values: ArrayLike<number>): void {
    this.#check(slot);
    const { plan, buffers } = this.executor;
    const declared = plan.buffers.find((b) => b.role === "condition" && b.name === name);
    const count = declared === undefined ? 0 : evaluateSize(declared.elements, { T: 1, Q: 1, S: 1, P: 1 });
    if (declared === undefined || values.length !== count)
      throw failure(
        "session/condition",
        declared === undefined
          ? `${plan.model} has no input \`${name}\` that a sequence has once`
          : `\`${name}\` has ${count} elements for a sequence, and is given ${values.length}`,
        { help: "give the elements of the model's input, row by row" },
      );
    buffers.writeCondition(
      declared.id,
      slot,
      declared.type === "f32" ? Float32Array.from(values) : Uint32Array.from(values),
    );
  }

  /**
   * Appends tokens to the sequence of a slot; `logits` then gives what follows the last. `length` declares how many tokens
   * the sequence will have in the end, until `reset`: some position scalings need it. Else it is what the slot holds.
   */
  async prefill(slot: number, ids: ArrayLike<number>, { length }: { readonly length?: number } = {}): Promise<void> {
    if (length !== undefined) this.#declared[this.#check(slot)] = length;
    await this.#append([this.#stretch(slot, ids)]);
  }

  /** Appends one token to each of several sequences, in one step. */
  async step(tokens: readonly { readonly slot: number; readonly id: number }[]): Promise<void> {
    if (new Set(tokens.map((t) => t.slot)).size < tokens.length)
      throw failure("session/slot-twice", "a step holds two tokens for one slot", { help: "use `prefill` for them" });
    await this.#append(tokens.map(({ slot, id }) => this.#stretch(slot, [id])));
  }

  /** Logits f32 [vocab] after the last token of a slot, as of the last `prefill` or `step`. */
  logits(slot: number): Float32Array {
    const last = this.#lastLogits.get(this.#check(slot));
    if (last === undefined) throw failure("session/empty", `slot ${slot} is empty`, { help: "`prefill` it first" });
    return last;
  }

  /** Forgets the sequence of a slot. */
  reset(slot: number): void {
    this.#lastLogits.delete(this.#check(slot));
    if (this.#lengths[slot]! > 0) this.executor.buffers.clearSequence(slot);
    this.#lengths[slot] = 0;
    this.#declared[slot] = 0;
  }

  /** Continues prompts, each in a slot of its own; see `GenerateOptions`. Takes over the slots that it uses. */
  generate(options: GenerateOptions): AsyncGenerator<GeneratedToken, void, void> {
    if (this.#refusal !== null) throw this.#refusal;
    return generate(this, options);
  }

  /** Negative log-likelihood in nats of each token after the first, given those before: n - 1 values for n tokens. */
  score(batch: readonly ArrayLike<number>[]): Promise<Float32Array[]> {
    return score(this, batch);
  }

  /** Frees everything on the GPU that belongs to this session. Call it once. */
  close(): void {
    this.staging.destroy();
    this.executor.buffers.destroy();
    // The last first: who came later may use what came before.
    for (const release of this.#onClose.reverse()) release();
  }

  /** What else ends with the session: buffers of its parts, a device opened for it alone. */
  onClose(release: () => void): void {
    this.#onClose.push(release);
  }

  /** True when the plan computes this output in some regime. */
  has(output: string): boolean {
    return this.executor.plan.entries.some((e) => e.name.startsWith(`${output}.`));
  }

  /** The most tokens of a step in which `rows(T)` of T tokens are wanted: what the device can bind is one limit. */
  mostTokens(rows: (tokens: number) => number): number {
    const { buffers, plan, device } = this.executor;
    return fitTokens(plan, device, this.#stepTokens, (T) => ({ ...buffers.sizes, T, Q: rows(T) }));
  }

  /**
   * Runs whole sequences from empty slots, as many at a time as there are slots. Every row of the output f32 [rows, ...]
   * goes to `take` with the sequence and token that it belongs to. `target` gives each token's target, where there is one; `begin` hears of
   * every sequence before its first token.
   */
  async runFresh(
    batch: readonly ArrayLike<number>[],
    output: string,
    take: (values: Float32Array, rows: readonly { readonly sequence: number; readonly token: number }[]) => void,
    target: ((sequence: number, token: number) => number) | null = null,
    begin: (sequence: number, slot: number) => void = () => {},
  ): Promise<void> {
    if (this.isWhole(output)) return this.#runWhole(batch, output, take, target, begin);
    const most = this.mostTokens((T) => T);
    for (let first = 0; first < batch.length; first += this.sequences) {
      const group = batch.slice(first, first + this.sequences);
      const stretches = group.map((ids, slot): Stretch => ({ slot, start: 0, length: ids.length, ids }));
      for (let slot = 0; slot < this.sequences; slot++) this.reset(slot);
      group.forEach((_, slot) => begin(first + slot, slot));
      await this.admit(stretches);
      for (const input of packSteps(stretches, most, "all")) {
        const rows = input.rows.map(({ stretch, token }) => ({ sequence: first + stretch, token }));
        const targets = target && Uint32Array.from(rows, ({ sequence, token }) => target(sequence, token));
        take(await this.#read(output, input, targets), rows);
      }
      for (let slot = 0; slot < group.length; slot++) this.reset(slot);
    }
  }

  /** True of an output that is computed of whole sequences, each in one step and in slot 0. */
  isWhole(output: string): boolean {
    return this.executor.plan.entries.some((e) => e.name === `${output}.whole`);
  }

  /** The same for an output that takes whole sequences, one to a step. */
  async #runWhole(
    batch: readonly ArrayLike<number>[],
    output: string,
    take: Parameters<Session["runFresh"]>[2],
    target: ((sequence: number, token: number) => number) | null,
    begin: (sequence: number, slot: number) => void,
  ): Promise<void> {
    for (const [sequence, ids] of batch.entries()) {
      this.reset(0);
      begin(sequence, 0);
      const stretch: Stretch = { slot: 0, start: 0, length: ids.length, ids };
      await this.admit([stretch]);
      const { buffers, plan, device } = this.executor;
      if (fitTokens(plan, device, ids.length, (T) => ({ ...buffers.sizes, T, Q: T })) < ids.length)
        throw failure(
          "session/capacity",
          `${plan.model} looks at whole sequences, and one of ${ids.length} tokens does not fit on this device`,
          { help: "give shorter sequences" },
        );
      const [input] = [...packSteps([stretch], ids.length, "all")];
      const rows = input!.rows.map(({ token }) => ({ sequence, token }));
      const targets = target && Uint32Array.from(rows, (row) => target(sequence, row.token));
      take(await this.#read(output, input!, targets, true), rows);
      this.reset(0);
    }
  }

  /** Checks tokens and lengths, makes room, and counts the tokens in. Throws `session/*` before anything runs. */
  async admit(stretches: readonly Stretch[], ahead = 0): Promise<void> {
    let longest = 0;
    for (const { slot, start, ids } of stretches) {
      this.#check(slot);
      if (ids.length === 0) throw failure("session/empty", `the input for slot ${slot} has no tokens`);
      const end = start + ids.length + ahead;
      longest = Math.max(longest, end);
      if (end > this.capacity)
        throw failure(
          "session/capacity",
          `slot ${slot} needs ${end} positions, and the session was opened with ${this.capacity}`,
          {
            help: "open it with a larger `capacity`, or ask for fewer tokens",
          },
        );
      const limit = this.vocab === 0 ? Number.POSITIVE_INFINITY : this.vocab;
      const wrong = Array.from(ids).find((id) => !Number.isInteger(id) || id < 0 || id >= limit);
      if (wrong !== undefined)
        throw failure("session/token-range", `${wrong} is not a token: the vocabulary has ${this.vocab}`);
    }
    const { P } = this.executor.buffers.sizes;
    if (longest > P) {
      const grown = Math.min(this.capacity, FIRST_CONTEXT * 2 ** Math.ceil(Math.log2(longest / FIRST_CONTEXT)));
      await this.executor.buffers.ensure({ T: 0, Q: 0, P: grown });
    }
    for (const { slot, start, ids } of stretches) this.#lengths[slot] = start + ids.length;
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
    const of = this.executor.plan.entries.filter((e) => e.name.startsWith(`${output}.`));
    const regime = whole ? "whole" : tokens <= FEW ? "few" : "many";
    const entry = of.find((e) => e.regime === regime) ?? of[0];
    if (entry === undefined)
      throw failure("session/no-output", `the plan of ${this.executor.plan.model} does not compute \`${output}\``, {
        help: `compile it with an entry for \`${output}\``,
      });
    return entry;
  }

  /** The outputs of a step's wanted rows, in their order. */
  async #read(
    output: string,
    input: StepInput,
    targets: Uint32Array<ArrayBuffer> | null,
    whole = false,
  ): Promise<Float32Array> {
    const { name, sizes } = await this.load(output, input, targets, whole);
    const { buffers, plan } = this.executor;
    const id = this.entryFor(output, sizes.T, whole).outputs[0]!;
    const elements = evaluateSize(plan.buffers.find((b) => b.id === id)!.elements, sizes);
    const read = this.staging.read(buffers.find({ kind: "buffer", id }).buffer, elements * 4);
    await this.executor.run(name, sizes, [read]);
    return new Float32Array(await read.take());
  }

  #stretch(slot: number, ids: ArrayLike<number>): Stretch {
    const start = this.lengthOf(slot);
    return { slot, start, length: Math.max(this.#declared[slot]!, start + ids.length), ids };
  }

  async #append(stretches: readonly Stretch[]): Promise<void> {
    if (this.#refusal !== null) throw this.#refusal;
    await this.admit(stretches);
    for (const input of packSteps(
      stretches,
      this.mostTokens(() => this.sequences),
      "last",
    )) {
      const values = await this.#read("logits", input, null);
      // A step in the middle of a long input has no wanted rows.
      input.rows.forEach(({ stretch }, i) =>
        this.#lastLogits.set(stretches[stretch]!.slot, values.slice(i * this.vocab, (i + 1) * this.vocab)),
      );
    }
  }

  #check(slot: number): number {
    if (Number.isInteger(slot) && slot >= 0 && slot < this.sequences) return slot;
    throw failure("session/slot", `there is no slot ${slot}: the session was opened for ${this.sequences} sequences`, {
      help: "open it with a larger `sequences`",
    });
  }
}
