/** Which files of a folder belong to a checkpoint that moec wrote. */
import { join } from "node:path";
import type { FileRecord, Manifest } from "../files/manifest.ts";
import { readBytesIfAny } from "../files/read.ts";
import { lstat } from "../files/system.ts";
import type { Output } from "../files/target.ts";
import { walkFiles } from "../files/walk.ts";
import { TEMPLATE_FOLDER } from "../tokenizer/chat-template.ts";
import { INDEX_NAME } from "../checkpoint/shard-index.ts";

export const PROVENANCE_NAME = "moec.provenance.json";

/** Files of a Hugging Face directory that belong to its tokenizer. */
export const TOKENIZER_FILES =
  /^(tokenizer(_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template\.(jinja|json))$/;

export const CHECKPOINT: Output = {
  kind: "checkpoint",
  name: "a checkpoint",
  code: "checkpoint/target-exists",
  earlier: listEarlier,
};

/** Before there were manifests, the provenance named the files of weights; beside them stood what goes with every checkpoint. */
function listEarlier(folder: string): Manifest["files"] | null {
  const weights = readWeights(readBytesIfAny(join(folder, PROVENANCE_NAME)));
  if (weights === null) return null;
  const beside = ["config.json", "generation_config.json", INDEX_NAME, PROVENANCE_NAME];
  const isBeside = (name: string): boolean =>
    beside.includes(name) ||
    TOKENIZER_FILES.test(name) ||
    (/^[^/]+\/[^/]+\.jinja$/.test(name) && name.startsWith(`${TEMPLATE_FOLDER}/`));
  const others = walkFiles(folder, () => false)
    .map((path) => path.replaceAll("\\", "/"))
    .filter(isBeside)
    .map((name): [string, FileRecord] => [name, { bytes: Number(lstat(join(folder, name)).size), sha256: null }]);
  return Object.fromEntries([...others, ...weights]);
}

/** Sizes of the files that hold tensors. */
function readWeights(bytes: Uint8Array | null): ReadonlyMap<string, FileRecord> | null {
  if (bytes === null) return null;
  try {
    const { format, tensors } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    if (!String(format).startsWith("moec.provenance/1")) return null;
    const ends = new Map<string, number>();
    for (const { file, bytes: place } of Object.values(tensors as Record<string, { file: string; bytes: number[] }>))
      ends.set(file, Math.max(ends.get(file) ?? 0, place[1]!));
    return new Map([...ends].map(([name, size]) => [name, { bytes: size, sha256: null }]));
  } catch {
    return null;
  }
}
