/** Bytes that are read by position, whatever holds them: a file on a disk, one that was dropped on a page, an address that serves ranges. */

export interface ByteSource {
  /** As messages name it. */
  readonly path: string;
  /** In its folder. */
  readonly name: string;
  /** Bytes, when it was opened. */
  readonly size: number;
  /** When it was last written to, in nanoseconds since 1970. */
  readonly modified: bigint;
  /** Fills the beginning of `into` from this position on: how many bytes, fewer than asked for only where it ends. Throws `Unreadable`. */
  read(position: number, into: Uint8Array): Promise<number>;
  /** Throws `checkpoint/changed` when it was written to since it was opened. */
  checkUnchanged(): Promise<void>;
  /** Harmless when it is closed. */
  close(): Promise<void>;
}

/** Thrown by a source that cannot give its bytes; whoever knows what was asked for tells that. */
export class Unreadable extends Error {
  /** In plain words. */
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}
