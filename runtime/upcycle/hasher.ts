/**
 * SHA-256 of tensors whose bytes come in pieces. It is the most work of all that a stream of copies asks of the processor, so a
 * thread of its own does it beside the reading and writing, where there is enough to pay for starting one.
 */
import { createHash } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Hashed, HashTask } from "./hash-worker.ts";

export interface Hasher {
  /** The next bytes of a tensor; they must stay as they are until the promise ends. `onQueued`: the ones after may come. */
  add(tensor: string, bytes: Uint8Array, onQueued: () => void): Promise<void>;
  /** The hash in hexadecimal. */
  end(tensor: string): Promise<string>;
  close(): Promise<void>;
}

/** Below this, a thread takes longer to start than it saves. */
const WORTH_BYTES = 128 << 20;

/** `bytes` is how much there will be. Bytes must lie in shared memory. */
export function openHasher(bytes: number): Hasher {
  return bytes < WORTH_BYTES ? openHere() : openThread();
}

function openHere(): Hasher {
  const open = new Map<string, ReturnType<typeof createHash>>();
  const find = (tensor: string): ReturnType<typeof createHash> => {
    const hash = open.get(tensor) ?? createHash("sha256");
    open.set(tensor, hash);
    return hash;
  };
  return {
    async add(tensor, bytes, onQueued) {
      find(tensor).update(bytes);
      onQueued();
    },
    async end(tensor) {
      const hash = find(tensor);
      open.delete(tensor);
      return hash.digest("hex");
    },
    close: async () => undefined,
  };
}

function openThread(): Hasher {
  // In the checkout this is TypeScript, in the package JavaScript.
  const worker = new Worker(new URL(`./hash-worker${extname(import.meta.url)}`, import.meta.url));
  const waiting: PromiseWithResolvers<string>[] = [];
  worker.on("message", ({ sha256 }: Hashed) => waiting.shift()!.resolve(sha256));
  worker.on("error", (cause) => waiting.splice(0).forEach(({ reject }) => reject(cause)));
  // Answers come in the order of the questions.
  const ask = (task: HashTask): Promise<string> => {
    const answer = Promise.withResolvers<string>();
    waiting.push(answer);
    worker.postMessage(task);
    return answer.promise;
  };
  const memories = new Map<ArrayBufferLike, number>();
  return {
    async add(tensor, { buffer, byteOffset: start, byteLength: length }, onQueued) {
      const isNew = !memories.has(buffer);
      if (isNew) memories.set(buffer, memories.size);
      const memory = memories.get(buffer)!;
      const hashed = ask({ tensor, piece: { memory, buffer: isNew ? buffer : null, start, length } });
      onQueued();
      await hashed;
    },
    end: (tensor) => ask({ tensor, piece: null }),
    close: async () => {
      await worker.terminate();
    },
  };
}
