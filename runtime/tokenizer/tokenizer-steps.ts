/**
 * The steps of a tokenizer, watched while they run: which one it is, so that a message can name it, and how long a text it makes, since a
 * few replacements one behind the other may multiply a text beyond all memory. A step is a method of an object of the library's.
 */

/** Thrown by a step that makes too much of its text. */
export class TooLong extends Error {}

export interface RunningStep {
  /** In tokenizer.json, e.g. `pre_tokenizer.pretokenizers[0]`. */
  readonly path: string;
  /** Its pattern, as it is written there. */
  readonly pattern: string | null;
}

/** No step makes a text longer than this many times its length, and some room for short ones. */
const MOST_GROWTH = 64;
const ROOM = 4096;

const SECTIONS = ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const;
const METHODS = ["normalize", "pre_tokenize_text", "post_process", "decode_chain"] as const;

/** Where the library keeps the steps of a sequence, and what tokenizer.json calls them. */
const LISTS = [
  ["normalizers", "normalizers"],
  ["tokenizers", "pretokenizers"],
  ["processors", "processors"],
  ["decoders", "decoders"],
] as const;

type Made = Record<string, unknown>;
type Stated = Readonly<Record<string, unknown>>;
type Method = (this: unknown, input: unknown, ...more: readonly unknown[]) => unknown;

export class Steps {
  /** The one that runs, or ran last; null when none has since `begin`. */
  running: RunningStep | null = null;
  #most = Infinity;

  /** `characters` of the text that the steps will be given. */
  begin(characters: number): void {
    this.running = null;
    this.#most = MOST_GROWTH * characters + ROOM;
  }

  /** `made` is what the library made of `stated`. */
  watch(made: object, stated: object): void {
    for (const section of SECTIONS)
      this.#watch((made as Made)[section] as Made | null, (stated as Stated)[section] as Stated | null, section);
  }

  #watch(made: Made | null, stated: Stated | null, path: string): void {
    if (made === null || stated === null) return;
    const list = LISTS.find(([own]) => Array.isArray(made[own]));
    if (list !== undefined) {
      const [own, name] = list;
      const inner = (stated[name] ?? []) as readonly (Stated | null)[];
      (made[own] as readonly (Made | null)[]).forEach((step, i) =>
        this.#watch(step, inner[i] ?? null, `${path}.${name}[${i}]`),
      );
      return;
    }
    const step = { path, pattern: patternOf(stated["pattern"]) };
    for (const method of METHODS) {
      const run = made[method] as Method | undefined;
      if (run === undefined) continue;
      made[method] = (input: unknown, ...more: readonly unknown[]): unknown => {
        this.running = step;
        const output = run.call(made, input, ...more);
        if (lengthOf(output) > this.#most) throw new TooLong();
        return output;
      };
    }
  }
}

function patternOf(pattern: unknown): string | null {
  const { Regex: regex, String: text } = (pattern ?? {}) as Stated;
  return typeof regex === "string" ? regex : typeof text === "string" ? text : null;
}

/** Of a text, or of all in a list. */
function lengthOf(output: unknown): number {
  if (typeof output === "string") return output.length;
  if (!Array.isArray(output)) return 0;
  return output.reduce<number>((sum, item) => sum + (typeof item === "string" ? item.length : 0), output.length);
}
