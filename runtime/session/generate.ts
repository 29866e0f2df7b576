/**
 * Generation: prompts of different lengths go through prefill together, then every step adds a token to each sequence that
 * has not ended. A step is one submit. Two are kept in flight, so that the device does not wait while the host reads; when
 * a sequence ends, what the second step computed for it is dropped, and the batch goes on without it.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { needed, number, type Rules, sequences, signal, whole, wholeIds } from "../../grammar/option.ts";
import { type AbortOptions, checkAborted, unlessAborted } from "../abort.ts";
import type { StepSizes } from "../gpu/buffers.ts";
import { packSteps, type Stretch } from "./feed.ts";
import { notFinite } from "./not-finite.ts";
import type { Readback } from "../gpu/readback.ts";
import { Sampler, type Sampling } from "./sampler.ts";
import type { Steps } from "./steps.ts";

export interface GenerateOptions extends Partial<Sampling>, AbortOptions {
  /** Token ids of each prompt, at least one. Prompt i runs in slot i. */
  readonly prompts: readonly ArrayLike<number>[];
  /** The most tokens to add to each prompt. */
  readonly maxTokens: number;
  /** Tokens that end a sequence; they are not yielded. */
  readonly stop?: readonly number[];
}

const U32 = 0xffffffff;

export const GENERATE_RULES: Rules<GenerateOptions> = {
  prompts: needed(sequences),
  maxTokens: needed(whole(0)),
  stop: wholeIds,
  temperature: number(0),
  topK: whole(0, U32),
  topP: number(0, 1),
  seed: whole(0, U32),
  signal,
};

/** A token for the prompt of this index. */
export interface GeneratedToken {
  readonly slot: number;
  readonly token: number;
}

/** A sequence in progress: its tokens, the last of which is not yet fed. */
interface Row {
  readonly slot: number;
  readonly ids: number[];
  left: number;
}

const IN_FLIGHT = 2;

const samplers = new WeakMap<Steps, Promise<Sampler>>();

/** Use `Session.generate`, which checks the options. */
export async function* generate(steps: Steps, options: GenerateOptions): AsyncGenerator<GeneratedToken, void, void> {
  const { prompts, maxTokens } = options;
  checkAborted("generate", options.signal);
  if (prompts.length > steps.sequences)
    throw failure(
      "session/slot",
      `${prompts.length} prompts need as many slots, and the session was opened for ${steps.sequences}`,
      {
        help: "open it with a larger `sequences`",
      },
    );
  if (maxTokens < 1 || prompts.length === 0) return;
  const run = new Generation(steps, options, await samplerOf(steps));
  try {
    for (const rows of [run.prefill(), run.decode()]) yield* rows;
  } finally {
    await run.end();
  }
}

class Generation {
  readonly #steps: Steps;
  readonly #options: GenerateOptions;
  readonly #sampler: Sampler;
  readonly #sampling: Sampling;
  readonly #stop: ReadonlySet<number>;
  readonly #reads: Readback[] = [];
  #rows: Row[];

  constructor(steps: Steps, options: GenerateOptions, sampler: Sampler) {
    this.#steps = steps;
    this.#options = options;
    this.#sampler = sampler;
    const { temperature = 0, topK = 0, topP = 1, seed = 0 } = options;
    this.#sampling = { temperature, topK, topP, seed };
    this.#stop = new Set(options.stop ?? []);
    this.#rows = options.prompts.map((ids, slot) => ({ slot, ids: Array.from(ids), left: options.maxTokens }));
  }

  /** Feeds the prompts and yields the token after each. */
  async *prefill(): AsyncGenerator<GeneratedToken, void, void> {
    const steps = this.#steps;
    const stretches = this.#rows.map(({ slot, ids }): Stretch => this.#stretch(slot, 0, ids));
    for (const { slot } of stretches) steps.reset(slot);
    // The last token is never fed, so it needs no position.
    await steps.admit(stretches, this.#options.maxTokens - 1);
    for (const input of packSteps(
      stretches,
      steps.mostTokens(() => steps.sequences),
      "last",
    )) {
      const rows = input.rows.map(({ stretch }) => this.#rows[stretch]!);
      const { name, sizes } = await steps.load("logits", input);
      await this.#prepare(name);
      if (rows.length === 0) {
        await steps.executor.run(name, sizes);
        continue;
      }
      this.#loadSampler(rows);
      this.#reads.push(await this.#run(name, sizes, rows.length, false));
      yield* this.#accept(rows);
    }
    this.#rows = this.#rows.filter((row) => row.left > 0);
  }

  /** Yields tokens until every sequence has ended. */
  async *decode(): AsyncGenerator<GeneratedToken, void, void> {
    while (this.#rows.length > 0) {
      const rows = this.#rows;
      const each = rows.map(({ slot, ids }): Stretch => this.#stretch(slot, ids.length - 1, [ids.at(-1)!]));
      const [input] = [...packSteps(each, rows.length, "last")];
      const { name, sizes } = await this.#steps.load("logits", input!);
      await this.#prepare(name);
      this.#loadSampler(rows);
      let steps = Math.max(...rows.map((row) => row.left));
      let isWhole = true;
      while (this.#reads.length > 0 || (isWhole && steps > 0)) {
        checkAborted("generate", this.#options.signal);
        for (; isWhole && steps > 0 && this.#reads.length < IN_FLIGHT; steps--)
          this.#reads.push(await this.#run(name, sizes, rows.length, true));
        yield* this.#accept(rows);
        isWhole = rows.every((row) => row.left > 0);
      }
      this.#rows = rows.filter((row) => row.left > 0);
    }
  }

  /** Also when the consumer stops early: waits for what was submitted, and leaves the slots empty. */
  async end(): Promise<void> {
    if (!this.#steps.isOpen) return;
    for (const read of this.#reads.splice(0)) await read.take();
    this.#options.prompts.forEach((_, slot) => this.#steps.reset(slot));
  }

  /** Makes an entry's pipelines, which takes long the first time: a signal need not wait for them. */
  async #prepare(name: string): Promise<void> {
    const { signal: wanted } = this.#options;
    checkAborted("generate", wanted);
    await unlessAborted("generate", wanted, this.#steps.executor.prepare([name]));
  }

  /** A sequence is declared as long as it may become. */
  #stretch(slot: number, start: number, tokens: ArrayLike<number>): Stretch {
    const { prompts, maxTokens } = this.#options;
    return { slot, start, length: prompts[slot]!.length + maxTokens, ids: tokens };
  }

  #loadSampler(rows: readonly Row[]): void {
    this.#sampler.load(
      rows.map((row) => ({ position: row.ids.length - 1, stream: row.slot })),
      this.#sampling,
    );
  }

  async #run(name: string, sizes: StepSizes, rows: number, advance: boolean): Promise<Readback> {
    const { executor, staging } = this.#steps;
    const logits = this.#steps.entryFor("logits", sizes.T).outputs[0]!;
    const read = staging.read(this.#sampler.next, rows * 4);
    await executor.run(name, sizes, [this.#sampler.encode(rows, logits, advance), read]);
    return read;
  }

  /** Takes the oldest step's tokens: one per row that has not ended. Throws `session/not-finite`. */
  async *#accept(rows: readonly Row[]): AsyncGenerator<GeneratedToken, void, void> {
    const tokens = new Uint32Array(await this.#reads.shift()!.take());
    for (const [i, row] of rows.entries()) {
      if (row.left === 0) continue;
      const token = tokens[i]!;
      if (token === this.#sampler.noToken) throw notFinite("logits", this.#steps.executor.plan.model, row.ids);
      row.ids.push(token);
      row.left = this.#stop.has(token) ? 0 : row.left - 1;
      if (!this.#stop.has(token)) yield { slot: row.slot, token };
    }
  }
}

function samplerOf(steps: Steps): Promise<Sampler> {
  const known = samplers.get(steps);
  if (known !== undefined) return known;
  const made = Sampler.create(steps.executor, steps.vocab, steps.sequences);
  samplers.set(steps, made);
  // Who awaits it hears of a failure; this is only for the end.
  void made.then(
    (sampler) => steps.onClose(() => sampler.destroy()),
    () => undefined,
  );
  return made;
}
