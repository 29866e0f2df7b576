/** Reads config.json for a map: the parsed object, its text for messages, and which numbers were written as floats. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ConfigFile, Json } from "../compiler/index.ts";
import { failure } from "../grammar/diagnostic.ts";

/** The `config.json` of a checkpoint folder. Throws `checkpoint/no-config` and `checkpoint/bad-json`. */
export function readConfigFile(folder: string): ConfigFile {
  const path = join(folder, "config.json");
  if (!existsSync(path))
    throw failure("checkpoint/no-config", `${folder} has no config.json`, {
      help: "give the folder that a model was saved to",
    });
  return parseConfig(path, readFileSync(path, "utf8"));
}

export function parseConfig(path: string, text: string): ConfigFile {
  const floats = new Set<string>();
  try {
    const json = JSON.parse(text) as Json;
    if (json === null || typeof json !== "object" || Array.isArray(json)) throw new SyntaxError("not an object");
    markFloats(text, json, floats);
    return { file: { path, text }, json: json as Readonly<Record<string, Json>>, floats };
  } catch (cause) {
    throw failure("checkpoint/bad-json", `${path} is not a JSON object: ${(cause as Error).message}`, {
      help: "the file may be cut short: fetch it again",
    });
  }
}

/** The text of a config.json; whole numbers at the paths in `floats` are written with a point, as they were read. */
export function formatConfig(json: Readonly<Record<string, Json>>, floats: ReadonlySet<string>): string {
  const mark = (value: Json, path: string): unknown => {
    if (typeof value === "number") return Number.isInteger(value) && floats.has(path) ? rawJson(`${value}.0`) : value;
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((item: Json, i) => mark(item, `${path}.${i}`));
    const entries = Object.entries(value).map(([key, item]) => [
      key,
      mark(item as Json, path === "" ? key : `${path}.${key}`),
    ]);
    return Object.fromEntries(entries);
  };
  return `${JSON.stringify(mark(json, ""), null, 2)}\n`;
}

/** A number that `JSON.stringify` writes as it stands here; every Node that runs this has it, TypeScript's library not yet. */
const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

/** Integers that were written `8.0`: JSON.parse gives the source text of each value to its reviver. */
function markFloats(text: string, json: Json, floats: Set<string>): void {
  const holders = new Map<unknown, string>();
  const name = (value: Json, path: string): void => {
    if (value === null || typeof value !== "object") return;
    holders.set(JSON.stringify(value), path);
    for (const [key, item] of Object.entries(value)) name(item as Json, path === "" ? key : `${path}.${key}`);
  };
  name(json, "");
  const reviver = function (this: unknown, key: string, value: unknown, context?: { source?: string }): unknown {
    if (typeof value === "number" && context?.source !== undefined && /[.eE]/.test(context.source)) {
      const holder = holders.get(JSON.stringify(this));
      floats.add(holder === undefined || holder === "" ? key : `${holder}.${key}`);
    }
    return value;
  };
  JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}
