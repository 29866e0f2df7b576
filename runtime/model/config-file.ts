/** config.json for a map: the parsed object, its text for messages, and which numbers were written as floats. */
import type { ConfigFile, Json } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { Folder } from "../checkpoint/folder.ts";
import { markWord, parsePythonJson, writeWords } from "../checkpoint/python-json.ts";

/** The `config.json` of a folder. Throws `checkpoint/no-config`, `checkpoint/bad-json`, and what reading throws. */
export async function readConfigFile(folder: Folder): Promise<ConfigFile> {
  const name = "config.json";
  const text = await folder.readText(name);
  if (text !== null) return parseConfig(folder.pathOf(name), text);
  throw failure("checkpoint/no-config", `${folder.path} has no config.json`, {
    help: "give the folder that a model was saved to",
  });
}

/** Throws `checkpoint/bad-json`. */
export function parseConfig(path: string, text: string): ConfigFile {
  const floats = new Set<string>();
  const written = new Map<string, string>();
  try {
    const parsed = parsePythonJson(text, keepSource) as Parsed;
    if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed) || parsed instanceof Written)
      throw new SyntaxError("not an object");
    const json = settle(parsed, "", floats, written) as Readonly<Record<string, Json>>;
    return { file: { path, text }, json, floats, written };
  } catch (cause) {
    if (cause instanceof RangeError)
      throw failure("checkpoint/bad-json", `${path} has lists or objects nested too deeply to be read`, {
        help: "correct the file: a config.json is a few levels deep",
      });
    throw failure("checkpoint/bad-json", `${path} is not a JSON object: ${(cause as Error).message}`, {
      help: "the file may be cut short: fetch it again",
    });
  }
}

/**
 * The text of a config.json. Whole numbers at the paths in `floats` are written with a point, numbers in `written` by the digits that
 * they were read from, unless they have another value now; numbers without an end by Python's words for them.
 */
export function formatConfig(
  json: Readonly<Record<string, Json>>,
  floats: ReadonlySet<string>,
  written: ReadonlyMap<string, string> = new Map(),
): string {
  const mark = (value: Json, path: string): unknown => {
    if (typeof value === "number") {
      const text = written.get(path);
      if (text !== undefined && Object.is(Number(text), value)) return rawJson(text);
      return Number.isInteger(value) && floats.has(path) ? rawJson(`${value}.0`) : markWord(value);
    }
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((item: Json, i) => mark(item, below(path, `${i}`)));
    return mapEntries(value as JsonObject, (key, item) => mark(item, below(path, key)));
  };
  return `${writeWords(JSON.stringify(mark(json, ""), null, 2))}\n`;
}

type JsonObject = Readonly<Record<string, Json>>;

/** A number that `JSON.stringify` writes as it stands here; every Node that runs this has it, TypeScript's library not yet. */
const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

/** A number whose digits say more than its value: `8.0`, `1e-05`, integers beyond 2^53. */
class Written {
  readonly value: number;
  readonly source: string;
  constructor(value: number, source: string) {
    this.value = value;
    this.source = source;
  }
}

type Parsed = null | boolean | number | string | Written | readonly Parsed[] | { readonly [key: string]: Parsed };

/** JSON.parse gives its reviver the digits of a number, but not its place: they stay with it until the place is known. */
function keepSource(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  return typeof value === "number" && source !== undefined && source !== String(value)
    ? new Written(value, source)
    : value;
}

/** Plain JSON, with what was noted of its numbers by their paths. */
function settle(value: Parsed, path: string, floats: Set<string>, written: Map<string, string>): Json {
  if (value instanceof Written) {
    if (/[.eE]/.test(value.source)) floats.add(path);
    written.set(path, value.source);
    return value.value;
  }
  if (typeof value === "number" && !Number.isInteger(value)) floats.add(path);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item: Parsed, i) => settle(item, below(path, `${i}`), floats, written));
  return mapEntries(value as Readonly<Record<string, Parsed>>, (key, item) =>
    settle(item, below(path, key), floats, written),
  );
}

/** A key with a point in it, or without a letter, is told apart from a path: no map names one. */
const below = (path: string, key: string): string => {
  const name = key === "" ? "~2" : key.replaceAll("~", "~0").replaceAll(".", "~1");
  return path === "" ? name : `${path}.${name}`;
};

function mapEntries<A, B>(object: Readonly<Record<string, A>>, change: (key: string, item: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(object).map(([key, item]) => [key, change(key, item)]));
}
