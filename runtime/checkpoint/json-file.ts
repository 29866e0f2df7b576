/** JSON files that stand beside weights: configurations, indices, tokenizers. */
import { failure } from "../../grammar/diagnostic.ts";
import { readTextIfAny, recode } from "../files/read.ts";
import { parsePythonJson } from "./python-json.ts";

/** The object in a JSON file, or null where there is no such file. Throws `checkpoint/bad-json` for anything else, and what reading throws. */
export async function readJsonObject(path: string): Promise<Record<string, unknown> | null> {
  const text = recode("checkpoint/unreadable", () => readTextIfAny(path));
  if (text === null) return null;
  try {
    const value = parsePythonJson(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw failure("checkpoint/bad-json", `\`${path}\` is not valid JSON: ${(cause as Error).message}`);
  }
  throw failure("checkpoint/bad-json", `\`${path}\` is not a JSON object`);
}
