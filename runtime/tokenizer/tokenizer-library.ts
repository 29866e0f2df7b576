/**
 * `@huggingface/tokenizers` behind limits: what it is built from was looked at, what it does ends in time and does not outgrow its text,
 * and whatever it throws is told with the file and the step that it came from. Patterns of `tokenizer.json` are regular expressions of
 * strangers: some try a text in more ways than can be counted, most never do, and none is slower for being watched.
 */
import { Tokenizer } from "@huggingface/tokenizers";
import { failure } from "../../grammar/diagnostic.ts";
import { type LimitTime, TimeIsOver } from "./limit.ts";
import { checkTokenizer } from "./tokenizer-shape.ts";
import { type RunningStep, Steps, TooLong } from "./tokenizer-steps.ts";

export interface TokenizerLibrary {
  /** Of `tokenizer.json`. */
  readonly path: string;
  /** How many ids there are: one more than the greatest. */
  readonly size: number;
  /** Ids of special tokens, such as `<s>`. */
  readonly special: ReadonlySet<number>;
  readonly tokenToId: (token: string) => number | null;
  readonly hasToken: (id: number) => boolean;
  /** The ids of a text, with nothing added. Throws `checkpoint/slow-tokenizer` and `checkpoint/bad-tokenizer`, as do those below. */
  readonly encode: (text: string) => number[];
  /** The text of ids that have tokens. */
  readonly decode: (ids: readonly number[]) => string;
  /** Tokens with those around them that belong to any text. */
  readonly surround: (tokens: readonly string[]) => readonly string[];
}

/** Time that any text may take; much else may run on the same processor. */
const BASE_MILLISECONDS = 5000;
/** A twentieth of what tokenizers do on an idle machine. */
const CHARACTERS_PER_MILLISECOND = 20;
/** To read a large tokenizer takes a second or two. */
const READ_MILLISECONDS = 60_000;
/** An id stands for a few characters. */
const CHARACTERS_PER_ID = 16;

const budget = (characters: number): number => BASE_MILLISECONDS + Math.ceil(characters / CHARACTERS_PER_MILLISECOND);

export function openLibrary(path: string, definition: object, settings: object, limit: LimitTime): TokenizerLibrary {
  checkTokenizer(path, definition);
  const steps = new Steps();
  /** `characters` is the length of the text; `milliseconds` is null where nothing can take long, and a watch would cost more than the work. */
  const guard = <T>(characters: number, milliseconds: number | null, run: () => T): T => {
    steps.begin(characters);
    try {
      return milliseconds === null ? run() : limit(milliseconds, run);
    } catch (cause) {
      if (cause instanceof TimeIsOver) throw tooSlow(path, characters, steps.running, cause);
      throw unusable(path, steps.running, cause);
    }
  };
  const inner = guard(Infinity, READ_MILLISECONDS, () => new Tokenizer(definition, settings));
  steps.watch(inner, definition);
  const size = [...inner.get_vocab().values()].reduce((greatest, id) => Math.max(greatest, id), -1) + 1;
  const decodesByPattern = JSON.stringify((definition as { decoder?: unknown }).decoder ?? null).includes('"Regex"');
  return {
    path,
    size,
    special: new Set([...inner.get_added_tokens_decoder()].filter(([, token]) => token.special).map(([id]) => id)),
    tokenToId: (token) => inner.token_to_id(token) ?? null,
    hasToken: (id) => inner.id_to_token(id) !== undefined,
    encode: (text) => {
      const encoding = guard(text.length, budget(text.length), () => inner.encode(text, { add_special_tokens: false }));
      const { ids, tokens }: { ids: number[]; tokens: string[] } = encoding;
      const unknown = ids.findIndex((id) => !Number.isInteger(id));
      if (unknown >= 0) throw withoutToken(path, tokens[unknown]);
      return ids;
    },
    decode: (ids) => {
      const characters = ids.length * CHARACTERS_PER_ID;
      return guard(characters, decodesByPattern ? budget(characters) : null, () => inner.decode([...ids]));
    },
    surround: (tokens) =>
      guard(Infinity, BASE_MILLISECONDS, () =>
        inner.post_processor === null ? tokens : inner.post_processor.post_process([...tokens], undefined, true).tokens,
      ),
  };
}

const AGAIN = "copy `tokenizer.json` from the model's page again, or save it with a current `transformers`";

function tooSlow(path: string, characters: number, step: RunningStep | null, { milliseconds }: TimeIsOver): Error {
  const what = step === null ? `the tokenizer of \`${path}\`` : `\`${step.path}\` of \`${path}\``;
  const text = Number.isFinite(characters) ? ` with a text of ${characters} characters` : "";
  return failure(
    "checkpoint/slow-tokenizer",
    `${what} did not come to an end${text} in ${(milliseconds / 1000).toFixed(0)} s`,
    {
      notes: step?.pattern == null ? [] : [`its pattern is ${shorten(step.pattern)}`],
      help:
        step?.pattern == null
          ? AGAIN
          : "take the pattern that the model's makers published: one such as `(a+)+` tries a text in more ways than can be counted",
    },
  );
}

/** Whatever the library throws: it knows no place and few words, so both are added. */
function unusable(path: string, step: RunningStep | null, cause: unknown): Error {
  const where = step === null ? `\`${path}\`` : `\`${step.path}\` of \`${path}\``;
  const [problem, notes] =
    cause instanceof TooLong
      ? ["makes a text many times longer than it was", []]
      : cause instanceof RangeError && /call stack/.test(cause.message)
        ? ["is nested too deeply", []]
        : ["cannot be used by the tokenizer library", [`it says: ${shorten((cause as Error).message)}`]];
  return failure("checkpoint/bad-tokenizer", `${where} ${problem}`, { notes, help: AGAIN });
}

function withoutToken(path: string, token: string | undefined): Error {
  return failure(
    "checkpoint/bad-tokenizer",
    `\`${path}\` has no id for ${JSON.stringify(token) ?? "a piece of a text"}`,
    {
      notes: ["a vocabulary that does not cover every text needs an `unk_token` that is in it"],
      help: AGAIN,
    },
  );
}

const shorten = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}...` : text);
