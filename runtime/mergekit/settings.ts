/** Settings that models have and the result needs, of which it can have one only: those of the base, as mergekit does. */
import { findMap, makeModel, readConfig, toJson, type Value, type Workspace } from "../../compiler/index.ts";
import { MoeError } from "../../grammar/diagnostic.ts";
import { readConfigFile } from "../model/config-file.ts";
import { isFolder } from "../files/read.ts";
import { diskFolder } from "../load/disk-folder.ts";
import { openWorkspace } from "../load/modules.ts";
import { type Architecture, sourcesOf } from "./architecture.ts";
import type { MergekitConfig } from "./config.ts";
import { numberText } from "./number.ts";

export interface Setting {
  readonly name: string;
  /** What `base` has, as an argument of the target. */
  readonly text: string;
  /** Layers of the standard library that the text names. */
  readonly layers: readonly string[];
}

/** Settings of the target's that models in folders here do not agree on, with what the base has. Nothing where a config cannot be read. */
export async function settleSettings(config: MergekitConfig, architecture: Architecture): Promise<readonly Setting[]> {
  const workspace = openWorkspace();
  const [base, ...others] = await Promise.all(sourcesOf(config).map((source) => settingsOf(source, workspace)));
  const target = workspace.standard("layer").find(({ item }) => item.name.text === architecture.target);
  if (base == null || target === undefined) return [];
  const given = new Set(architecture.arguments.map((argument) => argument.split(":")[0]!));
  return target.item.params.flatMap(({ name: { text: name } }): readonly Setting[] => {
    const own = base.get(name);
    const differs = others.some((other) => other?.has(name) === true && json(other.get(name)) !== json(own));
    if (own === undefined || given.has(name) || !differs) return [];
    const layers: string[] = [];
    const text = textOf(own, layers);
    return text === null ? [] : [{ name, text, layers }];
  });
}

const json = (value: Value | undefined): string => JSON.stringify(toJson(value ?? { kind: "none" }));

/** The arguments of a model in a folder; null for one that is not here, or that `moec upcycle` will complain of. */
async function settingsOf(source: string, workspace: Workspace): Promise<ReadonlyMap<string, Value> | null> {
  if (!isFolder(source)) return null;
  try {
    const config = await readConfigFile(diskFolder(source));
    const map = findMap(workspace, config);
    return makeModel(readConfig(map, config), map.item.span).args;
  } catch (error) {
    if (error instanceof MoeError) return null;
    throw error;
  }
}

/** A setting as it is written; null for what has no such form. */
function textOf(value: Value, layers: string[]): string | null {
  switch (value.kind) {
    case "none":
      return "none";
    case "bool":
      return String(value.value);
    case "string":
      return JSON.stringify(value.value);
    case "number":
      return value.float ? numberText(value.value) : `${value.value}`;
    case "axis":
      return value.size.value === null ? null : String(value.size.value);
    case "list": {
      const items = value.items.map((item) => textOf(item, layers));
      return items.includes(null) ? null : `[${items.join(", ")}]`;
    }
    case "constructor": {
      const args = [...value.bound].map(([name, given]) => [name, textOf(given, layers)] as const);
      if (args.some(([, text]) => text === null)) return null;
      layers.push(value.decl.name.text);
      const inside = args.map(([name, text]) => `${name}: ${text}`).join(", ");
      return inside === "" ? value.decl.name.text : `${value.decl.name.text}(${inside})`;
    }
    default:
      return null;
  }
}
