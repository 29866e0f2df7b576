/**
 * How the new model is stored: the map of its family, its config.json. A map is only taken when the config
 * that it writes reads back as the same model.
 */
import type { MapBinding, Model, Value, Workspace } from "../../compiler/index.ts";
import { findFloats, readConfig, toJson, writeConfig } from "../../compiler/index.ts";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { formatConfig, parseConfig } from "../model/config-file.ts";

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
  return changedIn(formatConfig(writeConfig(map, model.args), findFloats(map, model.args)), map, model);
}

/** Arguments that a config.json does not say. */
export function changedIn(config: string, map: MapBinding, model: Model): readonly string[] {
  const read = readBack(config, map);
  if (read === null) return [...model.args.keys()];
  return [...model.args.keys()].filter((name) => read.has(name) && text(read.get(name)) !== text(model.args.get(name)));
}

function readBack(config: string, map: MapBinding): ReadonlyMap<string, Value> | null {
  try {
    return readConfig(map, parseConfig("config.json", config)).bound;
  } catch (error) {
    if (error instanceof MoeError) return null;
    throw error;
  }
}

const text = (value: Value | undefined): string => JSON.stringify(value === undefined ? null : toJson(value));
