/** Files written whole or not at all: under another name first, then renamed. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { failure } from "../grammar/index.ts";

/** Throws `cli/cannot-write`; an older file of that name is then untouched. */
export function writeWhole(path: string, pieces: readonly (Uint8Array | string)[]): void {
  const aside = `${path}.partial-${process.pid}`;
  try {
    const file = openSync(aside, "w");
    try {
      for (const piece of pieces) writePiece(file, typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
    } finally {
      closeSync(file);
    }
    renameSync(aside, path);
  } catch (cause) {
    rmSync(aside, { force: true });
    const { syscall, message } = cause as NodeJS.ErrnoException;
    if (syscall === undefined) throw cause;
    throw failure("cli/cannot-write", `cannot write ${path}: ${message}`, {
      help: "check that the folder is there and yours to write to",
    });
  }
}

function writePiece(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}
