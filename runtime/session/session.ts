/**
 * A model on a device, ready to run: sequences in numbered slots with their states, fed in steps of any mix of tokens.
 * One call at a time: steps of two calls would write each other's inputs, so a second one is refused. What calls do is in files of
 * their own (`fresh.ts`, `score.ts`, `generate.ts`), over the `Steps` that a session hands to the call that has it.
 */
import { type Plan, widthOf } from "../../compiler/plan/plan.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import {
  callback,
  checkOption,
  checkOptions,
  ids as idList,
  list,
  needed,
  object,
  type Rules,
  sequences as sequencesRule,
  signal as signalRule,
  whole,
} from "../../grammar/option.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import { Buffers, type MemoryReport } from "../gpu/buffers.ts";
import type { Device } from "../gpu/device.ts";
import { type Counters, Executor } from "../gpu/execute.ts";
import { packSteps, type Stretch } from "./feed.ts";
import { runFresh } from "./fresh.ts";
import { generate, GENERATE_RULES, type GenerateOptions, type GeneratedToken } from "./generate.ts";
import { type ParameterSource, uploadParameters } from "../gpu/parameters.ts";
import { score } from "./score.ts";
import { DECODE, FIRST_CONTEXT, Steps } from "./steps.ts";
import { Turn } from "./turn.ts";

export interface SessionOptions extends AbortOptions {
  readonly plan: Plan;
  readonly device: Device;
  readonly source: ParameterSource;
  /** Slots: how many sequences can be in progress at once. */
  readonly sequences?: number | undefined;
  /** The longest sequence, in tokens. Memory for it is taken as sequences grow. */
  readonly capacity?: number | undefined;
  /** The most tokens of one step, at most what the plan is made for; longer inputs take several. */
  readonly stepTokens?: number | undefined;
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined;
  /** Hears of weights so large that sums with them may pass what float32 holds: `checkpoint/extreme`. */
  readonly onNote?: ((note: Diagnostic) => void) | undefined;
  /** Why the model cannot be fed token by token, where it cannot: told when that is asked for. */
  readonly refusal?: Error | undefined;
}

const SESSION_RULES: Rules<SessionOptions> = {
  plan: needed(object("a plan, of `compile` or `loadPlan`", "entries", "parameters", "modules")),
  device: needed(object("a device, of `openDevice`", "gpu", "facts")),
  source: needed(object("where parameters come from, such as `source` of `loadModel`", "storage", "read")),
  sequences: whole(1),
  capacity: whole(1),
  stepTokens: whole(1),
  onProgress: callback,
  onNote: callback,
  refusal: object("an error", "message"),
  signal: signalRule,
};

/** Positions of a slot, where none are asked for. */
export const USUAL_CAPACITY = 4096;

/** Uploads the parameters and allocates. Throws `MoeError`s of the device and what `source` throws. */
export async function openSession(options: SessionOptions): Promise<Session> {
  checkOptions("openSession", options, SESSION_RULES);
  const { plan, device, source, sequences = 1, capacity = USUAL_CAPACITY, stepTokens = 512 } = options;
  checkFits(plan, device);
  const parameters = await uploadParameters(device, plan, source, options);
  const P = Math.min(capacity, FIRST_CONTEXT);
  const most = Math.min(stepTokens, plan.stepTokens);
  const buffers = await Buffers.allocate(device, plan, parameters, { T: DECODE, Q: 1, S: sequences, P });
  return new Session(new Steps(new Executor(device, plan, buffers), capacity, most), options.refusal ?? null);
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
  readonly sequences: number;
  readonly capacity: number;
  /** Size of the vocabulary: columns of `logits`. */
  readonly vocab: number;
  readonly #steps: Steps;
  readonly #refusal: Error | null;
  readonly #turn: Turn;

  constructor(steps: Steps, refusal: Error | null = null) {
    this.#steps = steps;
    this.#turn = new Turn(() => steps.isOpen);
    this.#refusal = refusal;
    this.executor = steps.executor;
    this.sequences = steps.sequences;
    this.capacity = steps.capacity;
    this.vocab = steps.vocab;
  }

  /** Bytes on the GPU by purpose. */
  get memory(): MemoryReport {
    this.#turn.checkOpen();
    return this.executor.buffers.memory;
  }

  get counters(): Readonly<Counters> {
    return this.executor.counters;
  }

  /** Tokens that a slot holds. */
  lengthOf(slot: number): number {
    this.#turn.checkOpen();
    return this.#steps.lengthOf(slot);
  }

  /**
   * Logits of every token of each sequence, f32 [tokens, vocab], as if each stood alone, by the rule that the model was trained with.
   * Takes over all slots: what they held is gone, and they are empty afterwards. `perSequence` holds what each sequence has once
   * (`perSequence`). Throws `session/not-finite` when one of them is NaN or infinite.
   */
  async forward(
    batch: readonly ArrayLike<number>[],
    perSequence: readonly Readonly<Record<string, ArrayLike<number>>>[] = [],
    options: AbortOptions = {},
  ): Promise<Float32Array[]> {
    checkOption("forward", "batch", batch, needed(sequencesRule));
    checkOption(
      "forward",
      "perSequence",
      perSequence,
      list(object("an object"), "a list of objects, one for a sequence"),
    );
    checkOptions("forward", options, ABORT_RULES);
    return this.exclusively("forward", async (steps) => {
      const { vocab } = this;
      const results = batch.map((ids) => new Float32Array(ids.length * vocab));
      await runFresh(steps, {
        batch,
        output: "logits",
        take: (values, rows) =>
          rows.forEach(({ sequence, token }, i) =>
            results[sequence]!.set(values.subarray(i * vocab, (i + 1) * vocab), token * vocab),
          ),
        begin: (sequence, slot) =>
          Object.entries(perSequence[sequence] ?? {}).forEach(([name, values]) =>
            writePerSequence(steps, slot, name, values),
          ),
        check: () => checkAborted("forward", options.signal),
      });
      return results;
    });
  }

  /**
   * Says what the sequence of a slot has once, by the name of the model's input: its elements in row-major order, f32 or u32. It stays
   * until it is said again, whatever the slot then holds; before that it is zero.
   */
  perSequence(slot: number, name: string, values: ArrayLike<number>): void {
    this.#turn.checkFree("perSequence");
    writePerSequence(this.#steps, slot, name, values);
  }

  /**
   * Appends tokens to the sequence of a slot; `logits` then gives what follows the last. `length` declares how many tokens
   * the sequence will have in the end, until `reset`: some position scalings need it. Else it is what the slot holds.
   */
  async prefill(slot: number, ids: ArrayLike<number>, options: PrefillOptions = {}): Promise<void> {
    checkOption("prefill", "ids", ids, needed(idList));
    checkOptions("prefill", options, PREFILL_RULES);
    await this.exclusively("prefill", async (steps) => {
      if (options.length !== undefined) steps.slots.at(slot).declared = options.length;
      await this.#append([stretchOf(steps, slot, ids)], () => checkAborted("prefill", options.signal));
    });
  }

  /** Appends one token to each of several sequences, in one step. */
  async step(tokens: readonly { readonly slot: number; readonly id: number }[]): Promise<void> {
    checkOption("step", "tokens", tokens, needed(TOKENS));
    if (new Set(tokens.map((t) => t.slot)).size < tokens.length)
      throw failure("session/slot-twice", "a step holds two tokens for one slot", { help: "use `prefill` for them" });
    await this.exclusively("step", (steps) =>
      this.#append(
        tokens.map(({ slot, id }) => stretchOf(steps, slot, [id])),
        () => {},
      ),
    );
  }

  /** Logits f32 [vocab] after the last token of a slot, as of the last `prefill` or `step`. */
  logits(slot: number): Float32Array {
    this.#turn.checkOpen();
    const { logits } = this.#steps.slots.at(slot);
    if (logits === null) throw failure("session/empty", `slot ${slot} is empty`, { help: "`prefill` it first" });
    return logits;
  }

  /** Forgets the sequence of a slot. */
  reset(slot: number): void {
    this.#turn.checkFree("reset");
    this.#steps.reset(slot);
  }

  /**
   * Continues prompts, each in a slot of its own; see `GenerateOptions`. Takes over the slots that it uses, and has the session from
   * the first token asked for until it has ended or is told to `return`. Throws `session/*`, and `option/*`, when that token is asked for.
   */
  generate(options: GenerateOptions): AsyncGenerator<GeneratedToken, void, void> {
    if (this.#refusal !== null) throw this.#refusal;
    return this.#generate(options);
  }

  async *#generate(options: GenerateOptions): AsyncGenerator<GeneratedToken, void, void> {
    checkOptions("generate", options, GENERATE_RULES);
    this.#turn.begin("generate");
    try {
      yield* generate(this.#steps, options);
    } catch (error) {
      throw this.#turn.told(error);
    } finally {
      this.#turn.end();
    }
  }

  /**
   * Negative log-likelihood in nats of each token after the first, given those before: n - 1 values for n tokens. Throws
   * `session/not-finite`.
   */
  async score(batch: readonly ArrayLike<number>[], options: AbortOptions = {}): Promise<Float32Array[]> {
    checkOption("score", "batch", batch, needed(sequencesRule));
    checkOptions("score", options, ABORT_RULES);
    return this.exclusively("score", (steps) => score(steps, batch, () => checkAborted("score", options.signal)));
  }

  /**
   * Gives `use` what the session's calls are made of, and the session to nobody else until it ends. For parts of the runtime. Throws
   * `session/busy` and `session/closed`; the latter also for a session that is closed meanwhile.
   */
  async exclusively<R>(call: string, use: (steps: Steps) => Promise<R>): Promise<R> {
    this.#turn.begin(call);
    try {
      return await use(this.#steps);
    } catch (error) {
      throw this.#turn.told(error);
    } finally {
      this.#turn.end();
    }
  }

  /** Frees everything on the GPU that belongs to this session, once. A call that has it ends with `session/closed`, and so does every later one. */
  close(): void {
    this.#steps.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** What else ends with the session, such as a device opened for it alone. */
  onClose(release: () => void): void {
    this.#steps.onClose(release);
  }

  async #append(stretches: readonly Stretch[], check: () => void): Promise<void> {
    if (this.#refusal !== null) throw this.#refusal;
    const steps = this.#steps;
    await steps.admit(stretches);
    for (const input of packSteps(
      stretches,
      steps.mostTokens(() => this.sequences),
      "last",
    )) {
      check();
      const values = await steps.read("logits", input);
      // A step in the middle of a long input has no wanted rows.
      input.rows.forEach(({ stretch }, i) => {
        steps.slots.at(stretches[stretch]!.slot).logits = values.slice(i * this.vocab, (i + 1) * this.vocab);
      });
    }
  }
}

export interface PrefillOptions extends AbortOptions {
  readonly length?: number;
}

const ABORT_RULES: Rules<AbortOptions> = { signal: signalRule };
const PREFILL_RULES: Rules<PrefillOptions> = { ...ABORT_RULES, length: whole(1) };
const TOKENS = list(object("a slot and an id", "slot", "id"), "a list of { slot, id }");

function stretchOf(steps: Steps, slot: number, ids: ArrayLike<number>): Stretch {
  const { ids: held, declared } = steps.slots.at(slot);
  const start = held.length;
  return { slot, start, length: Math.max(declared, start + ids.length), ids };
}

function writePerSequence(steps: Steps, slot: number, name: string, values: ArrayLike<number>): void {
  steps.slots.at(slot);
  const { plan, buffers } = steps.executor;
  const declared = plan.buffers.find((b) => b.role === "per-sequence" && b.name === name);
  const count = declared === undefined ? 0 : widthOf(declared.elements);
  if (declared === undefined || values.length !== count)
    throw failure(
      "session/per-sequence",
      declared === undefined
        ? `${plan.model} has no input \`${name}\` that a sequence has once`
        : `\`${name}\` has ${count} elements for a sequence, and is given ${values.length}`,
      { help: "give the elements of the model's input, row by row" },
    );
  const { id, type } = declared;
  buffers.writePerSequence(id, slot, type === "f32" ? Float32Array.from(values) : Uint32Array.from(values));
}
