/** Values of the language as JSON and back, and places in a config.json. A layer with parameters is an object of them. */
import type { SourceFile, Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { Value } from "../../language/interpret/value.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A parsed config.json; numbers that were written as floats are kept apart, for `8.0` is not a size. */
export interface ConfigFile {
  readonly file: SourceFile;
  readonly json: Readonly<Record<string, Json>>;
  /** Paths such as `rope_parameters.factor` whose number had a point or an exponent. */
  readonly floats: ReadonlySet<string>;
  /** By path, the digits of numbers that would not be written as they were read. */
  readonly written?: ReadonlyMap<string, string>;
  /** Where the object stands in the file, if it is not all of it. */
  readonly within?: readonly string[];
}

/** Where a key stands in config.json; the start of the file, or of what is read of it, when it is missing. */
export function keySpan(config: ConfigFile, path: readonly string[]): Span {
  const { file, within = [] } = config;
  const places = placesOf(file);
  const found = places.get(JSON.stringify([...within, ...path])) ?? places.get(JSON.stringify(within));
  return found === undefined ? { file, start: 0, end: 1 } : { file, ...found };
}

interface Place {
  readonly start: number;
  readonly end: number;
}

const placesByFile = new WeakMap<SourceFile, ReadonlyMap<string, Place>>();

/** Every key of the objects in a file that are in no list, by its path as JSON: from its name to the end of its line or entry. */
function placesOf(file: SourceFile): ReadonlyMap<string, Place> {
  const known = placesByFile.get(file);
  if (known !== undefined) return known;
  const places = new Map<string, Place>();
  const open: { readonly isObject: boolean; key: string }[] = [];
  for (const match of file.text.matchAll(/"(?:\\.|[^"\\])*"(\s*:)?|[[\]{}]/g)) {
    const [token, colon] = match;
    if (token === "{" || token === "[") open.push({ isObject: token === "{", key: "" });
    else if (token === "}" || token === "]") open.pop();
    else if (colon !== undefined && open.length > 0 && open.every((o) => o.isObject)) {
      open.at(-1)!.key = keyOf(token.slice(0, token.length - colon.length));
      const rest = /^[^\n,}]*/.exec(file.text.slice(match.index + token.length, match.index + token.length + 200))![0];
      places.set(JSON.stringify(open.map((o) => o.key)), {
        start: match.index,
        end: match.index + token.length + rest.length,
      });
    }
  }
  placesByFile.set(file, places);
  return places;
}

function keyOf(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

/** The object at a path as a config of its own; null where there is no object. Its places are those in the file. */
export function configAt(config: ConfigFile, path: readonly string[]): ConfigFile | null {
  const json = at(config.json, path);
  if (json === undefined || json === null || typeof json !== "object" || Array.isArray(json)) return null;
  const prefix = `${path.join(".")}.`;
  const below = (key: string): readonly string[] => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []);
  return {
    file: config.file,
    json: json as ConfigFile["json"],
    floats: new Set([...config.floats].flatMap(below)),
    written: new Map([...(config.written ?? [])].flatMap(([key, text]) => below(key).map((k) => [k, text] as const))),
    within: [...(config.within ?? []), ...path],
  };
}

export function put(out: Record<string, Json>, path: readonly string[], json: Json): void {
  const [head, ...rest] = path;
  if (rest.length === 0) out[head!] = json;
  else {
    const inner = { ...((out[head!] ?? {}) as Record<string, Json>) };
    put(inner, rest, json);
    out[head!] = inner;
  }
}

export function at(json: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = json;
  for (const key of path) {
    if (current === null || typeof current !== "object" || Array.isArray(current)) return undefined;
    if (!Object.hasOwn(current, key)) return undefined;
    current = (current as Readonly<Record<string, Json>>)[key];
  }
  return current;
}

/** The first number of a value or a list that is not finite. */
export function findNotFinite(json: Json): number | null {
  if (Array.isArray(json)) return json.map(findNotFinite).find((item) => item !== null) ?? null;
  return typeof json === "number" && !Number.isFinite(json) ? json : null;
}

export function fromJson(json: Json, path: string, config: ConfigFile, span: Span): Value {
  switch (typeof json) {
    case "boolean":
      return { kind: "bool", value: json };
    case "string":
      return { kind: "string", value: json };
    case "number":
      if (Number.isInteger(json) && !config.floats.has(path))
        return { kind: "axis", label: null, size: Dim.of(json), origin: span };
      return { kind: "number", value: json, float: true };
    default:
      if (Array.isArray(json))
        return {
          kind: "list",
          items: json.map((item: Json, i: number) => fromJson(item, `${path}.${i}`, config, span)),
        };
      return { kind: "none" };
  }
}

export function toJson(value: Value): Json {
  switch (value.kind) {
    case "bool":
    case "string":
      return value.value;
    case "number":
      return value.value;
    case "axis":
      return value.size.value;
    case "list":
      return value.items.map(toJson);
    case "constructor":
      return Object.fromEntries([...value.bound].map(([name, given]) => [name, toJson(given)]));
    default:
      return null;
  }
}

export function show(value: Value): string {
  return `\`${JSON.stringify(toJson(value))}\``;
}
