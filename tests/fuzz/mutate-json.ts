/**
 * JSON made wrong by its items: a key left out, misspelt, written twice or taken from elsewhere; an element too many; a value of
 * another kind, size or sign; and, seldomer, the text itself cut, repeated or broken.
 */
import { mutateText, NUMBERS, tokensOf } from "./mutate-text.ts";
import type { Random } from "./random.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Written into the text as it stands: what `JSON.stringify` would not say. */
const RAW = "\u0001raw:";

/** A place in a document: the keys that lead to it. */
type Path = readonly (string | number)[];

const VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  1,
  2,
  -1,
  0.5,
  1.5,
  1e9,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 53 - 1,
  1e26,
  1e308,
  -0.0,
  225_000_000,
  "",
  "a",
  "0",
  "none",
  "__proto__",
  "constructor",
  "../..",
  "\0",
  "\uD800",
  "😀",
  [],
  {},
  [[]],
  [null],
  [0],
  [-1, 1],
  ["a"],
  { a: 1 },
  { type: "linear" },
  { Regex: "a+" },
  { Regex: "" },
  { Regex: "[" },
  { String: "" },
];

const KEYS = ["", "a", "__proto__", "constructor", "toString", "type", "length", "__metadata__", "rope_type", "id"];

function pathsOf(value: Json, path: Path = [], out: Path[] = []): Path[] {
  out.push(path);
  if (Array.isArray(value)) (value as readonly Json[]).forEach((item, i) => pathsOf(item, [...path, i], out));
  else if (value !== null && typeof value === "object")
    for (const [key, item] of Object.entries(value)) pathsOf(item, [...path, key], out);
  return out;
}

const at = (value: Json, path: Path): Json =>
  path.reduce<Json>((inside, key) => (inside as Record<string | number, Json>)[key]!, value);

/** A copy with `change` applied to the holder of a path and its last key. */
function edit(value: Json, path: Path, change: (holder: Json[] | [string, Json][], index: number) => void): Json {
  const [key, ...rest] = path;
  if (Array.isArray(value)) {
    const items = [...(value as readonly Json[])];
    if (rest.length === 0) change(items, key as number);
    else items[key as number] = edit(items[key as number]!, rest, change);
    return items;
  }
  const entries = Object.entries(value as Record<string, Json>);
  const index = entries.findIndex(([name]) => name === key);
  if (rest.length === 0) change(entries, index);
  else entries[index]![1] = edit(entries[index]![1], rest, change);
  // A prototype is no key of `{}`, and a key twice no key at all: both are put right again as text.
  const out: Record<string, Json> = Object.create(null);
  entries.forEach(([name, item], i) => {
    out[entries.some(([other], j) => j < i && other === name) ? `${name}${TWICE}${i}` : name] = item;
  });
  return out;
}

const TWICE = "\u0001twice";

function number(value: number, random: Random): Json {
  const made = random.pick([
    value + 1,
    value - 1,
    -value,
    value * 2,
    value / 2,
    value + 0.5,
    0,
    value * 1e6,
    Math.floor(value / 3),
  ]);
  return random.chance(0.3) ? `${RAW}${random.pick([...NUMBERS, "NaN", "Infinity", "-Infinity", `${value}.0`])}` : made;
}

function other(value: Json, random: Random, documents: readonly Json[]): Json {
  if (typeof value === "number" && random.chance(0.6)) return number(value, random);
  if (typeof value === "string" && random.chance(0.5)) return mutateText(value, random, () => tokensOf(value));
  if (random.chance(0.4)) return random.pick(VALUES);
  const document = random.pick(documents);
  return at(document, random.pick(pathsOf(document)));
}

function change(value: Json, random: Random, documents: readonly Json[]): Json {
  const paths = pathsOf(value);
  // Half of the time near the top, where what matters stands.
  const near = paths.filter((path) => path.length <= 2);
  const path = random.pick(random.chance(0.5) ? near : paths);
  if (path.length === 0) return random.chance(0.02) ? other(value, random, documents) : value;
  return edit(value, path, (holder, index) => {
    const entries = holder as [string, Json][];
    const isList = Array.isArray(at(value, path.slice(0, -1)));
    const item = isList ? (holder as Json[])[index]! : entries[index]![1];
    const put = (next: Json): void => {
      if (isList) (holder as Json[])[index] = next;
      else entries[index]![1] = next;
    };
    const key = (): string => {
      const document = random.pick(documents);
      const names = pathsOf(document)
        .map((p) => p.at(-1))
        .filter((name) => typeof name === "string");
      return names.length === 0 || random.chance(0.3) ? random.pick(KEYS) : random.pick(names);
    };
    switch (random.index(8)) {
      case 0:
        holder.splice(index, 1);
        return;
      case 1:
        // Twice: an element, or a key with the same or another value.
        if (isList) (holder as Json[]).splice(index, 0, item);
        else entries.push([entries[index]![0], random.chance(0.5) ? item : other(item, random, documents)]);
        return;
      case 2:
        if (isList) (holder as Json[]).splice(index, 0, other(item, random, documents));
        else entries.push([key(), other(item, random, documents)]);
        return;
      case 3:
        if (isList) put(other(item, random, documents));
        else entries[index]![0] = key();
        return;
      case 4: {
        const swap = random.index(holder.length);
        if (isList) [(holder as Json[])[index], (holder as Json[])[swap]] = [(holder as Json[])[swap]!, item];
        else [entries[index]![1], entries[swap]![1]] = [entries[swap]![1], item];
        return;
      }
      default:
        put(other(item, random, documents));
    }
  });
}

function write(value: Json): string {
  return JSON.stringify(value)
    .replaceAll(/\\u0001twice\d+/g, "")
    .replaceAll(/"\\u0001raw:([^"]*)"/g, "$1");
}

/** The text of a document that has something wrong, or may have. */
export function mutateJson(document: Json, random: Random, documents: readonly Json[]): string {
  let value = document;
  for (let n = random.few(); n > 0; n--) value = change(value, random, documents);
  const text = write(value);
  if (random.chance(0.95)) return text;
  if (random.chance(0.02)) return `${'{"a":'.repeat(10 ** (2 + random.index(3)))}${text}`;
  return mutateText(text, random, () => tokensOf(write(random.pick(documents))).slice(0, 400));
}

export type { Json };
