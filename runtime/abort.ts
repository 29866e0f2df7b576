/** Ending what runs long: a signal is looked at between steps, so that nothing is left half done, and its reason is what is thrown. */
import { MoeError } from "../grammar/diagnostic.ts";

export interface AbortOptions {
  /** Ends the call before its next step. Its reason is thrown; without one of its own, an `Aborted`. */
  readonly signal?: AbortSignal | undefined;
}

/** Called an `AbortError`, as the platform's own are. */
export class Aborted extends MoeError {
  constructor(call: string) {
    super({
      code: "call/aborted",
      severity: "error",
      message: `\`${call}\` was ended by its signal`,
      labels: [],
      notes: [],
      help: "call it again without the signal, or with a fresh one",
    });
    this.name = "AbortError";
  }
}

/** Throws when the signal is aborted. */
export function checkAborted(call: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw reasonOf(call, signal);
}

function reasonOf(call: string, signal: AbortSignal): unknown {
  const { reason } = signal as { reason: unknown };
  // What `abort()` without a reason makes says nothing of the call.
  return reason instanceof DOMException && reason.name === "AbortError" ? new Aborted(call) : reason;
}

/** The promise's value, or the signal's reason as soon as that is aborted: for work that may go on by itself. */
export async function unlessAborted<V>(call: string, signal: AbortSignal | undefined, promise: Promise<V>): Promise<V> {
  if (signal === undefined) return promise;
  checkAborted(call, signal);
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const end = (): void => reject(reasonOf(call, signal));
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([promise, ended]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}
