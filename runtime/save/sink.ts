/**
 * Writes tensors to files and hashes them (SHA-256) on the way, both from one small piece after the other: hashing brings a piece
 * into the processor's cache, writing takes it from there, and memory is crossed once. That is most of the work of a stream of
 * copies, so threads of their own do it beside the reading and computing, where there is enough to pay for starting them: a tensor
 * belongs to one of them, which hashes its bytes in their order.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { FileError } from "../files/error.ts";
import { currentFaults } from "../files/faults.ts";
import { writeAll } from "../files/system.ts";
import type { SinkAnswer, SinkTask } from "./sink-message.ts";

export interface Sink {
  /**
   * Writes the next bytes of a tensor to an open file, from byte `position` on; they must stay as they are until the promise
   * ends. What is asked for first of a tensor is done first. Throws the system's error, with its `code` and `syscall`.
   */
  write(tensor: string, bytes: Uint8Array, file: number, position: number): Promise<void>;
  /** The hash of all that was written of a tensor, in hexadecimal. */
  end(tensor: string): Promise<string>;
  /** Files may be closed then. */
  close(): Promise<void>;
}

/** Below this, a thread takes longer to start than it saves. */
const WORTH_BYTES = 128 << 20;

/** Tensors on their way at one time are few. */
const MOST_THREADS = 4;

/** `bytes` is how much there will be. */
export function openSink(bytes: number): Sink {
  return bytes < WORTH_BYTES ? openHere() : openThreads(Math.min(MOST_THREADS, availableParallelism()));
}

function openHere(): Sink {
  const pieces = openPieces();
  return {
    write: async (...piece) => pieces.write(...piece),
    end: async (tensor) => pieces.end(tensor),
    close: async () => undefined,
  };
}

/**
 * Of one system call, and hashed before it. A processor's second cache has room for it. The kernel puts more than 256 KiB into larger
 * runs of memory, which take Linux 6 on some machines ten times as long to find.
 */
const PIECE_BYTES = 1 << 17;

export interface Pieces {
  write(tensor: string, bytes: Uint8Array, file: number, position: number): void;
  end(tensor: string): string;
}

type Digest = ReturnType<typeof createHash>;

/** The work itself, in whatever thread. */
export function openPieces(): Pieces {
  const open = new Map<string, Digest>();
  const find = (tensor: string): Digest => {
    const hash = open.get(tensor) ?? createHash("sha256");
    open.set(tensor, hash);
    return hash;
  };
  return {
    write(tensor, bytes, file, position) {
      const hash = find(tensor);
      for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        hash.update(piece);
        writeAll(file, piece, position + at);
      }
    },
    end(tensor) {
      const hash = find(tensor);
      open.delete(tensor);
      return hash.digest("hex");
    },
  };
}

function openThreads(count: number): Sink {
  const threads = Array.from({ length: count }, openThread);
  const homes = new Map<string, Sink>();
  let tensors = 0;
  const homeOf = (tensor: string): Sink => {
    const home = homes.get(tensor) ?? threads[tensors++ % count]!;
    homes.set(tensor, home);
    return home;
  };
  return {
    write: (tensor, ...piece) => homeOf(tensor).write(tensor, ...piece),
    end(tensor) {
      const home = homeOf(tensor);
      homes.delete(tensor);
      return home.end(tensor);
    },
    close: async () => {
      await Promise.all(threads.map((thread) => thread.close()));
    },
  };
}

function openThread(): Sink {
  // In the checkout this is TypeScript, in the package JavaScript.
  const worker = new Worker(new URL(`./sink-worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: currentFaults(),
  });
  const waiting: PromiseWithResolvers<string>[] = [];
  const died = Promise.withResolvers<never>();
  died.promise.catch(() => undefined);
  worker.on("error", died.reject);
  worker.on("message", ({ sha256, failure }: SinkAnswer) => {
    const { resolve, reject } = waiting.shift()!;
    if (failure === null) resolve(sha256);
    else reject(failure.code === null ? new Error(failure.message) : new FileError({ ...failure, code: failure.code }));
  });
  // Answers come in the order of the questions.
  const ask = (task: SinkTask): Promise<string> => {
    const answer = Promise.withResolvers<string>();
    waiting.push(answer);
    worker.postMessage(task);
    return Promise.race([answer.promise, died.promise]);
  };
  const memories = new Map<ArrayBufferLike, number>();
  return {
    async write(tensor, bytes, file, position) {
      const { buffer, byteOffset: start, byteLength: length } = bytes;
      const to = { tensor, file, position };
      if (!(buffer instanceof SharedArrayBuffer)) {
        await ask({ ...to, piece: { memory: null, buffer: bytes.slice().buffer, start: 0, length } });
        return;
      }
      const isNew = !memories.has(buffer);
      if (isNew) memories.set(buffer, memories.size);
      await ask({ ...to, piece: { memory: memories.get(buffer)!, buffer: isNew ? buffer : null, start, length } });
    },
    end: (tensor) => ask({ tensor, file: 0, position: 0, piece: null }),
    close: async () => {
      await worker.terminate();
    },
  };
}
