/**
 * Objects in a config.json. One that has several names is read whole, under the first name that is there and not empty, as
 * transformers does: keys of two generations are never mixed. What is in an object and read by no rule is refused by its name, for
 * it stands beside keys that change what the model computes; keys at the top are too many and mostly say nothing of that.
 */
import type { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { MapBinding } from "../../language/resolve/scope.ts";
import { at, type ConfigFile, type Json, keySpan } from "./config-value.ts";
import { withParts } from "./part.ts";

type Path = readonly string[];

/** Names of one object, the first to be read first. */
export type ObjectNames = readonly Path[];

/** Objects with several names that a map or a part of it declares. */
export function objectsOf(map: MapBinding): readonly ObjectNames[] {
  return withParts(map).flatMap(({ item }) =>
    item.objects.map(({ names }) => names.map((name) => name.map((k) => k.text))),
  );
}

/** Every key that a map's rules name, those of its parts among them. */
export function knownKeys(map: MapBinding): readonly Path[] {
  return withParts(map).flatMap(({ item }) =>
    item.config.flatMap((rule) => rule.keys.map((key) => key.map((k) => k.text))),
  );
}

/** Where a file has what a rule calls so: under the chosen name of its object. */
export function placeOf(path: Path, config: ConfigFile, objects: readonly ObjectNames[]): Path {
  for (const names of objects) {
    const own = names.find((name) => startsWith(path, name));
    if (own === undefined || path.length === own.length) continue;
    return [...(chosenName(names, config) ?? own), ...path.slice(own.length)];
  }
  return path;
}

/** The first name that is there with something in it. */
export function chosenName(names: ObjectNames, config: ConfigFile): Path | undefined {
  return names.find((name) => isFull(at(config.json, name)));
}

/** What transformers writes into every object that is a config of its own: how weights are stored, and by which release. */
const BOOKKEEPING = new Set(["dtype", "torch_dtype", "transformers_version"]);

/** Values that leave a key as it is without it. */
const SAYS_NOTHING: readonly Json[] = [null, "", "default"];

/** Reports what is not read of the objects that a map's rules read from. */
export function checkObjects(map: MapBinding, config: ConfigFile, bag: DiagnosticBag): void {
  const objects = objectsOf(map);
  for (const name of objects.flat()) checkKind(map, config, name, bag);
  for (const { path, keys } of knownObjects(map, config, objects)) {
    if (!checkKind(map, config, path, bag)) continue;
    const given = Object.entries((at(config.json, path) ?? {}) as Readonly<Record<string, Json>>);
    const unread = given.flatMap(([key, value]) =>
      keys.has(key) || BOOKKEEPING.has(key) || SAYS_NOTHING.includes(value) ? [] : [key],
    );
    if (unread.length > 0) reportUnread(map, config, path, unread, keys, bag);
  }
}

/** The objects that rules read from, as this file calls them, with the keys that are known of each. */
function knownObjects(
  map: MapBinding,
  config: ConfigFile,
  objects: readonly ObjectNames[],
): readonly { readonly path: Path; readonly keys: ReadonlySet<string> }[] {
  const known = new Map<string, { readonly path: Path; readonly keys: Set<string> }>();
  const ignored = withParts(map).flatMap(({ item }) => item.ignored.map(({ key }) => key.map((k) => k.text)));
  for (const key of [...knownKeys(map), ...ignored]) {
    const path = placeOf(key, config, objects);
    for (let depth = 1; depth < path.length; depth++) {
      const object = path.slice(0, depth);
      const entry = known.get(object.join(".")) ?? { path: object, keys: new Set() };
      entry.keys.add(path[depth]!);
      known.set(object.join("."), entry);
    }
  }
  return [...known.values()];
}

/** Whether there is an object, or nothing. */
function checkKind({ item }: MapBinding, config: ConfigFile, path: Path, bag: DiagnosticBag): boolean {
  const json = at(config.json, path);
  if (json === undefined || json === null || isObject(json)) return true;
  const span = keySpan(config, path);
  if (!bag.list.some((d) => d.labels[0]?.span.start === span.start))
    bag.error(
      "map/not-an-object",
      `\`${path.join(".")}\` is not an object but ${JSON.stringify(json)}`,
      [
        { span, text: "must be an object or null" },
        { span: item.name.span, text: "this map reads keys of it" },
      ],
      "correct config.json",
    );
  return false;
}

function reportUnread(
  { item }: MapBinding,
  config: ConfigFile,
  object: Path,
  unread: readonly string[],
  keys: ReadonlySet<string>,
  bag: DiagnosticBag,
): void {
  const names = unread.map((key) => `\`${[...object, key].join(".")}\``);
  const [first] = unread as [string];
  const near = suggest(first, keys);
  const isNested = isObject(at(config.json, [...object, first])!);
  bag.error(
    "map/unread-key",
    `nothing reads ${names.join(", ")}, which may change what the model computes`,
    [
      { span: keySpan(config, [...object, first]), text: "of this object, every key counts" },
      { span: item.name.span, text: "this map does not know it" },
    ],
    near === null
      ? `remove it if it means nothing, or give a map (--map FILE) that reads it or says \`ignore ${object.join(".")}.${first}\``
      : `did you mean \`${near}\`? otherwise remove it, or give a map that reads it (--map FILE)`,
    isNested ? [`\`${object.join(".")}\` is read as one object for all layers, not as one for each kind`] : [],
  );
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((key, i) => path[i] === key);
}

function isObject(json: Json): boolean {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}

function isFull(json: Json | undefined): boolean {
  return json !== undefined && isObject(json) && Object.keys(json as object).length > 0;
}
