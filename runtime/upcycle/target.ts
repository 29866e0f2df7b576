/**
 * How the new model is stored: the map of its family, its config.json. A map is only taken when the config
 * that it writes reads back as the same model.
 */
import type { ConfigFile, Json, MapBinding, Model, Value, Workspace } from "../../compiler/index.ts";
import { findFloats, readConfig, toJson, writeConfig } from "../../compiler/index.ts";
import type { StorageType } from "../../compiler/plan/plan.ts";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { formatConfig, parseConfig } from "../config-file.ts";

/** The first map of the model that keeps all its settings; `own` come before those of the standard library. Throws `upcycle/no-map`. */
export function findTargetMap(workspace: Workspace, model: Model, own: readonly MapBinding[]): MapBinding {
  const { decl } = model.instance;
  const maps = [...new Map([...own, ...workspace.standard("map")].map((m) => [m.item, m])).values()];
  const fitting = maps.filter((m) => m.scope.lookup(m.item.model.text)?.item === decl);
  const found = fitting.find((m) => findChanged(m, model).length === 0);
  if (found !== undefined) return found;
  const [first] = fitting;
  if (first === undefined)
    throw failure("upcycle/no-map", `no map says how \`${model.name}\` is stored`, {
      labels: [{ span: decl.name.span, text: "this model" }],
      help: `write \`map name: ${model.name} { ... }\` beside it`,
    });
  const changed = findChanged(first, model);
  throw failure(
    "upcycle/no-map",
    `no map of \`${model.name}\` can store ${changed.map((name) => `\`${name}\``).join(", ")}`,
    {
      labels: [{ span: first.item.name.span, text: "this one changes or drops it" }],
      notes: changed.map((name) => `\`${name}\` is ${text(model.args.get(name))}`),
      help: "add it to the map's `config`",
    },
  );
}

/** Arguments that are not the same once they were written and read. */
function findChanged(map: MapBinding, model: Model): readonly string[] {
  const read = readBack(map, model);
  if (read === null) return [...model.args.keys()];
  return [...model.args.keys()].filter((name) => read.has(name) && text(read.get(name)) !== text(model.args.get(name)));
}

function readBack(map: MapBinding, model: Model): ReadonlyMap<string, Value> | null {
  try {
    const config = parseConfig("config.json", formatConfig(writeConfig(map, model.args), findFloats(map, model.args)));
    return readConfig(map, config).bound;
  } catch (error) {
    if (error instanceof MoeError) return null;
    throw error;
  }
}

const text = (value: Value | undefined): string => JSON.stringify(value === undefined ? null : toJson(value));

/** As transformers writes them; older releases read `torch_dtype`. */
const TORCH_NAMES: Readonly<Record<StorageType, string>> = { f32: "float32", f16: "float16", bf16: "bfloat16" };

/** The text of config.json: what the map says, over what `others` said that it does not know. */
export function makeConfig(map: MapBinding, model: Model, dtype: StorageType, others?: ConfigFile): string {
  const name = TORCH_NAMES[dtype];
  const json = { ...writeConfig(map, model.args), dtype: name, torch_dtype: name };
  const floats = findFloats(map, model.args);
  if (others === undefined) return formatConfig(json, floats);
  const { transformers_version: _, ...rest } = others.json; // it wrote the other file, not this one
  return formatConfig(merge(rest, json), new Set([...floats, ...others.floats]), others.written);
}

type JsonObject = Readonly<Record<string, Json>>;

function merge(under: JsonObject, over: JsonObject): JsonObject {
  const merged = Object.entries(over).map(([key, value]): [string, Json] => {
    const below = under[key];
    return [key, isObject(value) && isObject(below) ? merge(below, value) : value];
  });
  return { ...under, ...Object.fromEntries(merged) };
}

function isObject(json: Json | undefined): json is JsonObject {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
