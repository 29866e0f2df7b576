/**
 * Generation: prompts of different lengths go through prefill together, then every step adds a token to each sequence that
 * has not ended. A step is one submit. Two are kept in flight, so that the device does not wait while the host reads; when
 * a sequence ends, what the second step computed for it is dropped, and the batch goes on without it.
 */
import { failure } from "../grammar/diagnostic.ts";
import { packSteps, type Stretch } from "./feed.ts";
import type { Readback } from "./readback.ts";
import { Sampler, type Sampling } from "./sampler.ts";
import type { Session } from "./session.ts";

export interface GenerateOptions extends Partial<Sampling> {
  /** Token ids of each prompt, at least one. Prompt i runs in slot i. */
  readonly prompts: readonly ArrayLike<number>[];
  /** The most tokens to add to each prompt. */
  readonly maxTokens: number;
  /** Tokens that end a sequence; they are not yielded. */
  readonly stop?: readonly number[];
}

/** A token for the prompt of this index. */
export interface GeneratedToken {
  readonly slot: number;
  readonly token: number;
}

/** A sequence in progress: its last token, not yet fed, and where that stands. */
interface Row {
  readonly slot: number;
  position: number;
  last: number;
  left: number;
}

const IN_FLIGHT = 2;

const samplers = new WeakMap<Session, Promise<Sampler>>();

/** Use `Session.generate`. Throws `session/capacity` and the like when the first token is asked for. */
export async function* generate(
  session: Session,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void, void> {
  const { prompts, maxTokens } = options;
  if (prompts.length > session.sequences)
    throw failure(
      "session/slot",
      `${prompts.length} prompts need as many slots, and the session was opened for ${session.sequences}`,
      {
        help: "open it with a larger `sequences`",
      },
    );
  if (maxTokens < 1 || prompts.length === 0) return;
  const run = new Generation(session, options, await samplerOf(session));
  try {
    for (const rows of [run.prefill(), run.decode()]) yield* rows;
  } finally {
    await run.end();
  }
}

class Generation {
  readonly #session: Session;
  readonly #options: GenerateOptions;
  readonly #sampler: Sampler;
  readonly #sampling: Sampling;
  readonly #stop: ReadonlySet<number>;
  readonly #reads: Readback[] = [];
  #rows: Row[];

  constructor(session: Session, options: GenerateOptions, sampler: Sampler) {
    this.#session = session;
    this.#options = options;
    this.#sampler = sampler;
    const { temperature = 0, topK = 0, topP = 1, seed = 0 } = options;
    this.#sampling = { temperature, topK, topP, seed };
    this.#stop = new Set(options.stop ?? []);
    this.#rows = options.prompts.map((ids, slot) => ({
      slot,
      position: ids.length - 1,
      last: 0,
      left: options.maxTokens,
    }));
  }

  /** Feeds the prompts and yields the token after each. */
  async *prefill(): AsyncGenerator<GeneratedToken, void, void> {
    const session = this.#session;
    const stretches = this.#options.prompts.map((ids, slot): Stretch => this.#stretch(slot, 0, ids));
    for (const { slot } of stretches) session.reset(slot);
    // The last token is never fed, so it needs no position.
    await session.admit(stretches, this.#options.maxTokens - 1);
    for (const input of packSteps(
      stretches,
      session.mostTokens(() => session.sequences),
      "last",
    )) {
      const rows = input.rows.map(({ stretch }) => this.#rows[stretch]!);
      const { name, sizes } = await session.load("logits", input);
      if (rows.length === 0) {
        await session.executor.run(name, sizes);
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
    const session = this.#session;
    while (this.#rows.length > 0) {
      const rows = this.#rows;
      const each = rows.map((row): Stretch => this.#stretch(row.slot, row.position, [row.last]));
      const [input] = [...packSteps(each, rows.length, "last")];
      const { name, sizes } = await session.load("logits", input!);
      this.#loadSampler(rows);
      let steps = Math.max(...rows.map((row) => row.left));
      let isWhole = true;
      while (this.#reads.length > 0 || (isWhole && steps > 0)) {
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
    for (const read of this.#reads.splice(0)) await read.take();
    this.#options.prompts.forEach((_, slot) => this.#session.reset(slot));
  }

  /** A sequence is declared as long as it may become. */
  #stretch(slot: number, start: number, ids: ArrayLike<number>): Stretch {
    const { prompts, maxTokens } = this.#options;
    return { slot, start, length: prompts[slot]!.length + maxTokens, ids };
  }

  #loadSampler(rows: readonly Row[]): void {
    this.#sampler.load(
      rows.map((row) => ({ position: row.position, stream: row.slot })),
      this.#sampling,
    );
  }

  async #run(
    name: string,
    sizes: Parameters<Session["executor"]["run"]>[1],
    rows: number,
    advance: boolean,
  ): Promise<Readback> {
    const { executor, staging } = this.#session;
    const logits = this.#session.entryFor("logits", sizes.T).outputs[0]!;
    const read = staging.read(this.#sampler.next, rows * 4);
    await executor.run(name, sizes, [this.#sampler.encode(rows, logits, advance), read]);
    return read;
  }

  /** Takes the oldest step's tokens: one per row that has not ended. */
  async *#accept(rows: readonly Row[]): AsyncGenerator<GeneratedToken, void, void> {
    const tokens = new Uint32Array(await this.#reads.shift()!.take());
    for (const [i, row] of rows.entries()) {
      if (row.left === 0) continue;
      const token = tokens[i]!;
      row.last = token;
      row.position++;
      row.left = this.#stop.has(token) ? 0 : row.left - 1;
      if (!this.#stop.has(token)) yield { slot: row.slot, token };
    }
  }
}

function samplerOf(session: Session): Promise<Sampler> {
  const known = samplers.get(session);
  if (known !== undefined) return known;
  const made = Sampler.create(session.executor, session.vocab, session.sequences);
  samplers.set(session, made);
  // Who awaits it hears of a failure; this is only for the end.
  void made.then(
    (sampler) => session.onClose(() => sampler.destroy()),
    () => undefined,
  );
  return made;
}
