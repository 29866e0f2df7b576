/** The thread of `hasher.ts`: takes pieces of tensors in shared memory, answers each in turn. */
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";

export interface HashTask {
  readonly tensor: string;
  /** Null: that was all of it. */
  readonly piece: {
    /** Number of the memory, and the memory itself the first time: to hand one over takes a millisecond. */
    readonly memory: number;
    readonly buffer: ArrayBufferLike | null;
    readonly start: number;
    readonly length: number;
  } | null;
}

export interface Hashed {
  /** Empty until a tensor ends. */
  readonly sha256: string;
}

const open = new Map<string, ReturnType<typeof createHash>>();
const memories: ArrayBufferLike[] = [];

parentPort?.on("message", ({ tensor, piece }: HashTask) => {
  const hash = open.get(tensor) ?? createHash("sha256");
  if (piece !== null) {
    const { memory, buffer, start, length } = piece;
    if (buffer !== null) memories[memory] = buffer;
    open.set(tensor, hash.update(new Uint8Array(memories[memory]!, start, length)));
  } else open.delete(tensor);
  const answer: Hashed = { sha256: piece === null ? hash.digest("hex") : "" };
  parentPort!.postMessage(answer);
});
