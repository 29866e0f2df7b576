/** Who has a session: one call at a time, told by name, and none after it was closed. */
import { failure } from "../../grammar/diagnostic.ts";
import { sessionClosed } from "../gpu/buffers.ts";

export class Turn {
  readonly #isOpen: () => boolean;
  #call: string | null = null;

  constructor(isOpen: () => boolean) {
    this.#isOpen = isOpen;
  }

  /** Throws `session/busy` and `session/closed`. */
  begin(call: string): void {
    this.checkFree(call);
    this.#call = call;
  }

  end(): void {
    this.#call = null;
  }

  /** Throws `session/busy` and `session/closed` for a call that ends at once. */
  checkFree(call: string): void {
    this.checkOpen();
    if (this.#call === null) return;
    throw failure("session/busy", `\`${call}\` cannot run: \`${this.#call}\` has this session and has not ended`, {
      help:
        this.#call === "generate"
          ? "take all its tokens or call `return()` of its iterator; for several prompts at once, give them to one call"
          : "await it first, or open a second session",
    });
  }

  /** Throws `session/closed`. */
  checkOpen(): void {
    if (!this.#isOpen()) throw sessionClosed();
  }

  /** What went wrong; where the session was closed meanwhile, that: it is behind whatever failed then. */
  told(error: unknown): unknown {
    return this.#isOpen() ? error : sessionClosed();
  }
}
