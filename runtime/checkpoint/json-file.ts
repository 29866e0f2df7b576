/** JSON files that stand beside weights: configurations, indices, tokenizers. */
import { readFile } from "node:fs/promises";
import { failure } from "../../grammar/diagnostic.ts";

/** The object in a JSON file, or null where there is no such file. Throws `checkpoint/bad-json` for anything else. */
export async function readJsonObject(path: string): Promise<Record<string, unknown> | null> {
  const text = await readTextFile(path);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw failure("checkpoint/bad-json", `\`${path}\` is not valid JSON: ${(cause as Error).message}`);
  }
  throw failure("checkpoint/bad-json", `\`${path}\` is not a JSON object`);
}

/** The text of a file, or null where there is no such file. Throws `checkpoint/unreadable`. */
export async function readTextFile(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw failure("checkpoint/unreadable", `cannot read \`${path}\`: ${(cause as Error).message}`);
  }
}
