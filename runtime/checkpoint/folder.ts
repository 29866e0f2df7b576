/** The folder of a checkpoint, whatever holds it, and the JSON files that stand beside weights: configurations, indices, tokenizers. */
import { failure } from "../../grammar/diagnostic.ts";
import type { ByteSource } from "./byte-source.ts";
import { parsePythonJson } from "./python-json.ts";

export interface Folder {
  /** As messages name it. */
  readonly path: string;
  /** How messages name a file in it. */
  pathOf(name: string): string;
  /** Names of all that is in it, or in a folder of it, sorted; none where it has no such folder. */
  list(inside?: string): Promise<readonly string[]>;
  /** The text of a file, null where it has none of this name; `inside/name` is a file of a folder in it. */
  readText(name: string): Promise<string | null>;
  open(name: string): Promise<ByteSource>;
}

/** The object in a JSON file, or null where there is no such file. Throws `checkpoint/bad-json` for anything else, and what reading throws. */
export async function readJsonObject(folder: Folder, name: string): Promise<Record<string, unknown> | null> {
  const text = await folder.readText(name);
  if (text === null) return null;
  const path = folder.pathOf(name);
  try {
    const value = parsePythonJson(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw failure("checkpoint/bad-json", `\`${path}\` is not valid JSON: ${(cause as Error).message}`);
  }
  throw failure("checkpoint/bad-json", `\`${path}\` is not a JSON object`);
}
