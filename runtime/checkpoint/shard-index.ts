/**
 * The index of a sharded checkpoint: which file holds which tensor. Where an index lists more than the shards hold, or less, that
 * is told by whoever knows which tensors are needed; a tensor in another shard than the one that the index says means that they
 * are of different versions. `total_size` is not compared: published checkpoints count shared tensors in different ways.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { type Folder, readJsonObject } from "./folder.ts";
import type { SafetensorsFile } from "./safetensors.ts";

export const INDEX_NAME = "model.safetensors.index.json";

/**
 * File by tensor name. `present` are the names of the folder's files. Throws `checkpoint/bad-index` for an index that
 * is not one or that points outside the folder, `checkpoint/missing-shard` when none of its files is there.
 */
export async function readIndex(folder: Folder, present: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const path = folder.pathOf(INDEX_NAME);
  const map = (await readJsonObject(folder, INDEX_NAME))?.["weight_map"];
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw failure("checkpoint/bad-index", `\`${path}\` has no \`weight_map\` object`);
  }
  const index = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file)) {
      const place = JSON.stringify(file);
      throw failure(
        "checkpoint/bad-index",
        `\`${path}\` puts \`${tensor}\` into ${place}, not a safetensors file beside it`,
      );
    }
    index.set(tensor, file);
  }
  if (index.size === 0) throw failure("checkpoint/bad-index", `\`${path}\` lists no tensors`);
  const named = [...new Set(index.values())].sort();
  if (named.some((file) => present.includes(file))) return index;
  throw missingShard(folder.path, named);
}

/** Where an index and its shards differ. */
export interface IndexGaps {
  /** What the index lists and no shard holds: by tensor, the file that it should be in. */
  readonly absent: ReadonlyMap<string, string>;
  /** What shards hold and the index does not list. */
  readonly unlisted: ReadonlySet<string>;
}

/** Throws `checkpoint/index-mismatch` unless each tensor is in one shard only, and in no other than the one that `index` (if any) says. */
export function checkShards(
  checkpoint: string,
  files: readonly SafetensorsFile[],
  index: ReadonlyMap<string, string> | null,
): IndexGaps {
  const owners = new Map<string, SafetensorsFile>();
  for (const file of files) {
    for (const name of file.tensors.keys()) {
      const other = owners.get(name);
      if (other !== undefined) {
        throw mismatch(`tensor \`${name}\` of \`${checkpoint}\` is in two shards`, [other.path, file.path]);
      }
      owners.set(name, file);
    }
  }
  const absent = new Map<string, string>();
  for (const [name, shard] of index ?? []) {
    const owner = owners.get(name);
    const other = files.find(({ facts }) => facts.name === shard);
    if (owner === undefined) absent.set(name, shard);
    else if (owner === other) continue;
    else if (other !== undefined)
      throw mismatch(`tensor \`${name}\` is not in \`${other.path}\`, where the index puts it`, [
        `it is in \`${owner.path}\``,
      ]);
    else throw missingShard(checkpoint, [shard], [`\`${name}\` of it is in \`${owner.path}\``]);
  }
  const unlisted = index === null ? [] : [...owners.keys()].filter((name) => !index.has(name));
  return { absent, unlisted: new Set(unlisted) };
}

/** At most three names, and how many more there are. */
function listSome(names: readonly string[]): string {
  const shown = names.slice(0, 3).map((name) => `\`${name}\``);
  return shown.join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");
}

function missingShard(directory: string, files: readonly string[], notes: readonly string[] = []): Error {
  return failure("checkpoint/missing-shard", `\`${directory}\` lacks ${listSome(files)}, which its index names`, {
    notes,
    help: "download the missing files: the checkpoint is not complete",
  });
}

function mismatch(message: string, notes: readonly string[]): Error {
  return failure("checkpoint/index-mismatch", message, {
    notes,
    help: "the index and the shards are of different versions: fetch all of them again",
  });
}
