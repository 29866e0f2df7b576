/** What a kind of input is to the fuzzer: how one is made wrong, and everything that it goes through in moec. */
import type { Diagnostic } from "../../grammar/index.ts";
import type { Random } from "./random.ts";

export interface Input {
  /** Which of the kind's sound inputs it was made from: says what stands beside it. */
  readonly at: string;
  /** The file. Bytes beyond ASCII are single characters where the kind's files are no text. */
  readonly text: string;
}

export interface Bench {
  make(random: Random): Input;
  /** Gives the diagnostics that are returned, and throws what is thrown. An input that is taken must make sense: where it does not, `Nonsense` is thrown. */
  run(input: Input): Promise<readonly Diagnostic[]>;
}

/** `folder` is new and empty, for files that have to be files. */
export type OpenBench = (folder: string) => Promise<Bench>;

/** What was taken without a word, and should not have been. */
export class Nonsense extends Error {
  override name = "Nonsense";
}
