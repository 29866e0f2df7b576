/**
 * The config.json of a checkpoint that is written: what the map says of the model, over what the base's config.json says that no map
 * knows (which token pads, dropouts, how much attention is kept): such settings stay with the model.
 */
import type { ConfigFile, Json, MapBinding, Model } from "../../compiler/index.ts";
import { findFloats, knownKeys, writeConfig } from "../../compiler/index.ts";
import { ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";
import { formatConfig } from "../model/config-file.ts";
import { changedIn } from "./target.ts";
import type { TransferTensor } from "./transfer.ts";

/** What says of the base's files, not of its model: which release wrote them, from where, in what encoding, with what code of its own. */
const OF_THE_FILES = ["transformers_version", "_name_or_path", "quantization_config", "auto_map"] as const;

/** The checkpoint whose other settings are kept, and the map that it was read by. */
export interface Base {
  readonly config: ConfigFile;
  readonly map: MapBinding;
}

/** The text. The type that it names is that of most bytes. */
export function makeConfig(map: MapBinding, model: Model, tensors: readonly TransferTensor[], base: Base): string {
  const dtype = ELEMENTS[mostBytes(tensors.map((t) => [t.dtype, t.bytes]))].torch;
  // Older releases of transformers read `torch_dtype`.
  const own = { ...writeConfig(map, model.args), dtype, torch_dtype: dtype };
  const floats = new Set([...findFloats(map, model.args), ...base.config.floats]);
  const over = (others: JsonObject): string => formatConfig(merge(others, own), floats, base.config.written);
  const others = Object.fromEntries(
    Object.entries(base.config.json).filter(([key]) => !OF_THE_FILES.some((name) => name === key)),
  );
  // Of the same model, older names of what the map writes may stay.
  if (base.map.item === map.item && changedIn(over(others), map, model).length === 0) return over(others);
  return over(without(without(others, knownKeys(base.map)), knownKeys(map)));
}

/** The type of most bytes. */
export function mostBytes(parts: readonly (readonly [ElementType, number])[]): ElementType {
  const total = new Map<ElementType, number>();
  for (const [type, bytes] of parts) total.set(type, (total.get(type) ?? 0) + bytes);
  return [...total].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "f32";
}

type JsonObject = Readonly<Record<string, Json>>;

function merge(under: JsonObject, over: JsonObject): JsonObject {
  const merged = Object.entries(over).map(([key, value]): [string, Json] => {
    const below = under[key];
    return [key, isObject(value) && isObject(below) ? merge(below, value) : value];
  });
  return { ...under, ...Object.fromEntries(merged) };
}

/** Without these keys; of objects that have no others nothing stays. */
function without(json: JsonObject, keys: readonly (readonly string[])[]): JsonObject {
  const entries = Object.entries(json).flatMap(([key, value]): [string, Json][] => {
    const below = keys.filter(([first]) => first === key).map(([, ...rest]) => rest);
    if (below.some((rest) => rest.length === 0)) return [];
    if (below.length === 0 || !isObject(value)) return [[key, value]];
    const left = without(value, below);
    return Object.keys(left).length === 0 ? [] : [[key, left]];
  });
  return Object.fromEntries(entries);
}

function isObject(json: Json | undefined): json is JsonObject {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
