/** Values of the language as JSON and back, and places in a config.json. A layer with parameters is an object of them. */
import type { SourceFile, Span } from "../../grammar/span.ts";
import { Dim } from "../graph/dim.ts";
import type { Value } from "../interpret/value.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A parsed config.json; numbers that were written as floats are kept apart, for `8.0` is not a size. */
export interface ConfigFile {
  readonly file: SourceFile;
  readonly json: Readonly<Record<string, Json>>;
  /** Paths such as `rope_parameters.factor` whose number had a point or an exponent. */
  readonly floats: ReadonlySet<string>;
  /** By path, the digits of numbers that would not be written as they were read. */
  readonly written?: ReadonlyMap<string, string>;
}

/** Where a key stands in config.json, in an object as deep as its path is long; the start of the file when it is missing. */
export function keySpan(config: ConfigFile, path: readonly string[]): Span {
  const { file } = config;
  const name = path.at(-1)!.replace(/[^\w]/g, "");
  const found = [...file.text.matchAll(new RegExp(`"${name}"\\s*:[^\\n,}]*`, "g"))];
  const depth = (before: string): number =>
    (before.replace(/"(\\.|[^"\\])*"/g, "").match(/[{}]/g) ?? []).reduce((n, brace) => n + (brace === "{" ? 1 : -1), 0);
  const match = found.find((m) => depth(file.text.slice(0, m.index)) === path.length) ?? found[0];
  if (match === undefined) return { file, start: 0, end: 1 };
  return { file, start: match.index, end: match.index + match[0].length };
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
    current = (current as Readonly<Record<string, Json>>)[key];
  }
  return current;
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
