/** Checkpoints and safetensors files by where they are on this machine. */
import { basename, dirname } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { readSafetensors, type SafetensorsFile } from "../checkpoint/safetensors.ts";
import { type Checkpoint, readCheckpoint } from "../checkpoint/store.ts";
import { find, recode } from "../files/read.ts";
import { diskFolder, diskSource } from "./disk-folder.ts";
import { resolveFolder } from "./hub-folder.ts";

/** A folder, or a safetensors file by itself. Throws a `MoeError`: `checkpoint/missing`, `snapshots`, and the codes of `readCheckpoint`. */
export async function openCheckpoint(given: string): Promise<Checkpoint> {
  const path = resolveFolder(given);
  const found = recode("checkpoint/unreadable", () => find(path));
  if (found === null) {
    throw failure("checkpoint/missing", `there is no checkpoint at \`${path}\``, {
      help: "give a directory with `model.safetensors` or its index, or a safetensors file",
    });
  }
  return found.isDirectory()
    ? readCheckpoint(diskFolder(path))
    : readCheckpoint(diskFolder(dirname(path)), basename(path));
}

/** Throws a `MoeError`: `checkpoint/unreadable` when there is no such file, and the codes of `readSafetensors`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return readSafetensors(diskSource(path));
}
