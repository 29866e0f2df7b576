/** The thread of `sink.ts`: takes pieces of tensors, from shared memory where they lie there, and answers each in turn. */
import { parentPort, workerData } from "node:worker_threads";
import { FileError } from "../files/error.ts";
import { type Faults, setFaults } from "../files/faults.ts";
import { openPieces } from "./sink.ts";
import type { SinkAnswer, SinkTask } from "./sink-message.ts";

setFaults(workerData as Faults | null);
const pieces = openPieces();
const memories: ArrayBufferLike[] = [];

parentPort?.on("message", (task: SinkTask) => parentPort!.postMessage(answer(task)));

function answer({ tensor, file, position, piece }: SinkTask): SinkAnswer {
  if (piece === null) return { sha256: pieces.end(tensor), failure: null };
  const { memory, start, length } = piece;
  const buffer = piece.buffer ?? memories[memory!]!;
  if (memory !== null) memories[memory] = buffer;
  try {
    pieces.write(tensor, new Uint8Array(buffer, start, length), file, position);
    return { sha256: "", failure: null };
  } catch (cause) {
    const { message } = cause as Error;
    const { code, syscall } = cause instanceof FileError ? cause : { code: null, syscall: "" };
    return { sha256: "", failure: { message, code, syscall } };
  }
}
