/** A limit of time for code of others, which whoever opens a tokenizer gives: how it is kept is the affair of what runs the code. */

/** What `run` gives or throws; `TimeIsOver` when it has not ended by then. `run` must not wait for anything. */
export type LimitTime = <T>(milliseconds: number, run: () => T) => T;

/** Thrown by a `LimitTime` instead of what the call would have given. */
export class TimeIsOver extends Error {
  readonly milliseconds: number;

  constructor(milliseconds: number) {
    super(`no end after ${milliseconds} ms`);
    this.milliseconds = milliseconds;
  }
}
