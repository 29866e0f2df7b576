/** Which map reads a config.json: the one of its `model_type`. */
import type { MapDecl } from "../../../grammar/ast.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Workspace } from "../../language/resolve/modules.ts";
import type { MapBinding } from "../../language/resolve/scope.ts";
import { at, type ConfigFile, keySpan } from "./config-value.ts";

/** The map whose `model_type` is this config's, or null. */
export function lookupMap(config: ConfigFile, maps: readonly MapBinding[]): MapBinding | null {
  const type = config.json["model_type"];
  // A map of a part of a config has no type.
  return typeof type === "string" ? (maps.find((m) => modelType(m.item) === type) ?? null) : null;
}

/** The same among those of the standard library too; throws with the known ones when there is none. */
export function findMap(workspace: Workspace, config: ConfigFile, own: readonly MapBinding[] = []): MapBinding {
  return requireMap(config, [...own, ...workspace.standard("map")]);
}

/** Throws `map/unknown-family`. */
export function requireMap(config: ConfigFile, maps: readonly MapBinding[]): MapBinding {
  const type = config.json["model_type"];
  const found = lookupMap(config, maps);
  if (found !== null) return found;
  const known = [...new Set(maps.map((m) => modelType(m.item)).filter((t) => t !== null))].sort();
  const near = typeof type === "string" ? suggest(type, known) : null;
  const hinted = type == null ? maps.find((map) => writesClassOf(map, config)) : undefined;
  throw new MoeError({
    code: "map/unknown-family",
    severity: "error",
    message:
      type === undefined
        ? "config.json has no `model_type`"
        : `no map reads checkpoints of type \`${typeof type === "string" ? type : JSON.stringify(type)}\``,
    labels: [{ span: keySpan(config, ["model_type"]), text: type === undefined ? "in this file" : "this type" }],
    notes: [`known types: ${known.join(", ")}`],
    help:
      hinted !== undefined
        ? `its \`architectures\` are of type \`${modelType(hinted.item)}\`: if that is right, add \`"model_type": "${modelType(hinted.item)}"\``
        : near === null
          ? "write a `map` for it (docs/language.md, maps) and pass the file with --map"
          : `did you mean \`${near}\`?`,
  });
}

/** Whether a config names a class that the map writes: a hint, for classes are spelt in many ways and renamed. */
function writesClassOf({ item }: MapBinding, config: ConfigFile): boolean {
  return item.config.some(({ isWritten, keys, left }) => {
    const given = at(config.json, keys[0]?.map((k) => k.text) ?? []);
    if (!isWritten || left.kind !== "list" || !Array.isArray(given)) return false;
    return left.items.some((name) => name.kind === "string" && given.includes(name.value));
  });
}

export function modelType(map: MapDecl): string | null {
  const rule = map.config.find((r) => r.keys.some((k) => k.length === 1 && k[0]!.text === "model_type"));
  return rule?.left.kind === "string" ? rule.left.value : null;
}

/** The key that gives a parameter. */
export function settingKey({ item }: MapBinding, parameter: string): string | null {
  const rule = item.config.find(({ left }) => left.kind === "name" && left.name.text === parameter);
  return rule?.keys[0]?.map((k) => k.text).join(".") ?? null;
}
