/** What a thread that writes is told, and what it answers. */

export interface SinkTask {
  readonly tensor: string;
  readonly file: number;
  readonly position: number;
  /** Null: that was all of the tensor. */
  readonly piece: {
    /** Number of a shared memory, which comes along the first time: to hand one over takes a millisecond. */
    readonly memory: number | null;
    readonly buffer: ArrayBufferLike | null;
    readonly start: number;
    readonly length: number;
  } | null;
}

export interface SinkAnswer {
  /** Empty until a tensor ends. */
  readonly sha256: string;
  /** What of the system's error survives the way between threads. */
  readonly failure: { readonly message: string; readonly code: string | null; readonly syscall: string } | null;
}
