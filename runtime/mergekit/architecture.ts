/**
 * Which model a configuration makes. mergekit takes the first of its architectures that fits the models' types and the shared
 * experts; that table is data, `stdlib/interchange/mergekit.json`.
 */
import { join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { readConfigFile } from "../model/config-file.ts";
import { find, isFolder, readText } from "../files/read.ts";
import { diskFolder } from "../load/disk-folder.ts";
import { standardLibraryFolder } from "../load/modules.ts";
import type { MergekitConfig } from "./config.ts";

export interface Architecture {
  readonly name: string;
  /** Values of `model_type` in the sources' config.json. */
  readonly bases: readonly string[];
  /** How many shared experts it has. */
  readonly shared: readonly number[];
  /** Whether a shared expert has prompts, for a gate; where they serve for nothing, it may. */
  readonly prompts?: boolean;
  /** The model of the standard library. */
  readonly target: string;
  readonly arguments: readonly string[];
  /** Rules below `blocks[l]`. */
  readonly rules: readonly string[];
}

export interface Choice {
  readonly architecture: Architecture;
  /** Whether it was chosen without knowing what the models are. */
  readonly isGuess: boolean;
}

/** Models that are folders here are looked at, others may be anything. Throws `import/no-architecture`. */
export async function chooseArchitecture(config: MergekitConfig): Promise<Choice> {
  const all = readTable();
  const wanted = config.architecture;
  const named = all.filter((a) => a.name.toLowerCase().startsWith((wanted?.value ?? "").toLowerCase()));
  const span = (wanted ?? config.shared[0]?.source ?? config.base).span;
  if (named.length === 0)
    throw failure("import/no-architecture", `mergekit has no architecture \`${wanted!.value}\``, {
      labels: [{ span, text: "not one of its names, nor the beginning of one" }],
      help: `write one of ${all.map((a) => a.name).join(", ")}, or leave it out`,
    });
  const types = new Set((await Promise.all(sourcesOf(config).map(modelType))).filter((type) => type !== null));
  const reasons = named.map((architecture) => findObstacle(architecture, config, types));
  const found = named.find((_, i) => reasons[i] === null);
  if (found === undefined)
    throw failure("import/no-architecture", "no architecture of mergekit fits these models", {
      labels: [{ span, text: wanted === null ? "with this model" : "asked for here" }],
      notes: named.map(({ name }, i) => `${name} ${reasons[i]}`),
      help: "change the models or `shared_experts`, or write an upcycling of your own",
    });
  const args = found.arguments.map((argument) => argument.replace("{shared}", String(config.shared.length)));
  return { architecture: { ...found, arguments: args }, isGuess: types.size === 0 && wanted === null };
}

/** All models that a configuration names, the base first. */
export function sourcesOf({ base, experts, shared }: MergekitConfig): readonly string[] {
  return [...new Set([base, ...experts.map((e) => e.source), ...shared.map((e) => e.source)].map((s) => s.value))];
}

function readTable(): readonly Architecture[] {
  const path = join(standardLibraryFolder(), "interchange", "mergekit.json");
  return (JSON.parse(readText(path)) as { readonly architectures: readonly Architecture[] }).architectures;
}

async function modelType(source: string): Promise<string | null> {
  if (!isFolder(source) || find(join(source, "config.json")) === null) return null;
  const type = (await readConfigFile(diskFolder(source))).json["model_type"];
  return typeof type === "string" ? type : null;
}

/** Why it does not fit; null where it does. */
function findObstacle(
  { bases, shared, prompts }: Architecture,
  config: MergekitConfig,
  types: ReadonlySet<string>,
): string | null {
  const [type] = types;
  if (types.size > 1) return `needs models of one type, and these are ${[...types].join(", ")}`;
  if (type !== undefined && !bases.includes(type)) return `is made from ${bases.join(", ")}, not from ${type}`;
  if (!shared.includes(config.shared.length))
    return `takes shared experts to the number of ${shared.join(" or ")}, not ${config.shared.length}`;
  const has = config.shared.some((e) => e.positive.length > 0 || e.negative.length > 0);
  if (prompts === false && has) return "has shared experts without prompts";
  if (prompts === true && !has && config.gate?.value !== "random") return "needs prompts of the shared expert";
  return null;
}
