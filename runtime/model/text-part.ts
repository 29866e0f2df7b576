/**
 * Models of several senses keep what reads and writes text as a part: its config is an object in theirs, its tensors are some of
 * theirs. Where the whole is of no family that is known and that part is, the part is read.
 */
import { type ConfigFile, configAt, type Json, lookupMap, type MapBinding } from "../../compiler/index.ts";

/** Where such configs stand, in the order in which they are looked for. */
export const TEXT_PARTS: readonly (readonly string[])[] = [
  ["text_config"],
  ["llm_config"],
  ["language_config"],
  ["thinker_config", "text_config"],
];

/** What a part is told by the whole where it says nothing itself. */
const SHARED = ["tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"];

/** The config of the part about text; null where there is none, or the whole is of a family that these maps know. */
export function findTextPart(config: ConfigFile, maps: readonly MapBinding[]): ConfigFile | null {
  if (lookupMap(config, maps) !== null) return null;
  for (const path of TEXT_PARTS) {
    const part = configAt(config, path);
    if (part === null || typeof part.json["model_type"] !== "string") continue;
    const shared = SHARED.filter((key) => part.json[key] == null && config.json[key] != null);
    const json: Readonly<Record<string, Json>> = {
      ...part.json,
      ...Object.fromEntries(shared.map((key) => [key, config.json[key]!])),
    };
    return { ...part, json };
  }
  return null;
}
