/** The thread of `hasher.ts`: takes pieces of tensors in shared memory, answers each in turn. */
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";

export interface HashTask {
  readonly tensor: string;
  /** Null: that was all of it. */
  readonly bytes: Uint8Array | null;
}

export interface Hashed {
  /** Empty until a tensor ends. */
  readonly sha256: string;
}

const open = new Map<string, ReturnType<typeof createHash>>();

parentPort?.on("message", ({ tensor, bytes }: HashTask) => {
  const hash = open.get(tensor) ?? createHash("sha256");
  if (bytes !== null) open.set(tensor, hash.update(bytes));
  else open.delete(tensor);
  const answer: Hashed = { sha256: bytes === null ? hash.digest("hex") : "" };
  parentPort!.postMessage(answer);
});
