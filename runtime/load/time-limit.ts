/**
 * Code of others under a limit of time. It runs where it is called, at its usual speed; a thread of the engine's watches the clock and
 * ends it, in the middle of a regular expression too, which no timer of JavaScript's could: the thread that would hear it is the one that
 * is busy. What is ended has thrown nothing that it could catch itself. A call costs about a tenth of a millisecond.
 */
import { Script } from "node:vm";
import { type LimitTime, TimeIsOver } from "../tokenizer/limit.ts";

const SLOT = Symbol.for("moec.limited");
const script = new Script(`globalThis[Symbol.for("moec.limited")]()`);
/** Of the context that the script runs in, which need not be the one of this module. */
const main = new Script("globalThis").runInThisContext() as Record<symbol, unknown>;

export const limitTime: LimitTime = <T>(milliseconds: number, run: () => T): T => {
  const before = main[SLOT];
  main[SLOT] = run;
  try {
    return script.runInThisContext({ timeout: milliseconds }) as T;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException | null)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw cause;
    throw new TimeIsOver(milliseconds);
  } finally {
    main[SLOT] = before;
  }
};
