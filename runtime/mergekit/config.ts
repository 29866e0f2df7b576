/**
 * A configuration of mergekit-moe, read strictly: what is not understood is an error, since leaving it out would make another
 * model. Defaults are mergekit's.
 */
import { DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import type { SourceFile, Span } from "../../grammar/span.ts";
import { LIMITS } from "../../grammar/limits.ts";
import { suggest } from "../../grammar/suggest.ts";
import { ELEMENT_TYPES, ELEMENTS, type ElementType } from "../checkpoint/element-type.ts";
import { isFolder } from "../files/read.ts";
import { type Item, readYaml } from "./yaml.ts";

export interface Located<T> {
  readonly value: T;
  readonly span: Span;
}

export interface Expert {
  readonly source: Located<string>;
  readonly positive: readonly string[];
  readonly negative: readonly string[];
  /** Deviation of the normal noise on every matrix. */
  readonly deviation: number;
  /** Factor of what the feed-forward adds to the residual stream. */
  readonly scale: number;
}

export interface MergekitConfig {
  readonly file: SourceFile;
  readonly base: Located<string>;
  readonly experts: readonly Expert[];
  readonly shared: readonly Expert[];
  readonly gate: Located<string> | null;
  readonly dtype: ElementType | null;
  readonly perToken: number;
  readonly architecture: Located<string> | null;
}

/** As torch calls them, with or without its name in front. */
const DTYPES: Readonly<Record<string, ElementType>> = Object.fromEntries(
  ELEMENT_TYPES.map((type) => [ELEMENTS[type].torch, type]),
);

const TOP = [
  "base_model",
  "gate_mode",
  "dtype",
  "experts_per_token",
  "experts",
  "shared_experts",
  "architecture",
] as const;
const EXPERT = ["source_model", "positive_prompts", "negative_prompts", "noise_scale", "residual_scale"] as const;
/** Of a model that is more than a name: what mergekit calls a reference, and the path in it. */
const SOURCE = ["model", "lora", "path", "revision"] as const;
/** Keys of dense merging, which another program does. */
const DENSE: ReadonlySet<string> = new Set(["merge_method", "models", "slices", "modules", "parameters"]);

/** Throws `MoeError` with all that is wrong: `import/yaml`, `import/unknown-key`, `import/missing-key`, `import/bad-value`. */
export function readMergekit(file: SourceFile): MergekitConfig {
  const bag = new DiagnosticBag();
  const root = readYaml(file);
  const fields = readFields(root, "a configuration of mergekit-moe", TOP, bag);
  if (bag.hasErrors) throw new MoeError(bag.list);
  const experts = readExperts(need(fields, "experts", root, bag), bag);
  const base = readSource(need(fields, "base_model", root, bag), bag);
  const gate = fields.get("gate_mode");
  const perToken = fields.get("experts_per_token");
  const architecture = fields.get("architecture");
  const config = {
    file,
    base: base!,
    experts,
    shared: isNothing(fields.get("shared_experts")) ? [] : readExperts(fields.get("shared_experts")!, bag),
    gate: isNothing(gate) ? null : readName(gate!, bag),
    dtype: readDtype(fields.get("dtype"), bag),
    perToken: isNothing(perToken) ? usualPerToken(experts, bag) : readPerToken(perToken!, experts.length, bag),
    architecture: isNothing(architecture) ? null : readName(architecture!, bag),
  };
  if (bag.hasErrors) throw new MoeError(bag.list);
  return config;
}

type Fields = ReadonlyMap<string, Item>;

const isNothing = (item: Item | undefined): boolean =>
  item === undefined || (item.kind === "scalar" && item.value === null);

/** The known keys of a mapping; each other one is an error. */
function readFields(item: Item, what: string, known: readonly string[], bag: DiagnosticBag): Fields {
  if (item.kind !== "map") {
    bag.error(
      "import/bad-value",
      `${what} is a list of keys and values`,
      [{ span: item.span, text: "this is not" }],
      `its keys are ${known.join(", ")}`,
    );
    return new Map();
  }
  const entries = item.entries();
  for (const { key, span } of entries) {
    if (known.includes(key)) continue;
    const near = suggest(key, known);
    const help = DENSE.has(key)
      ? "this belongs to dense merging: there are recipes for it, see docs/upcycling.md"
      : near === null
        ? `remove it, or say it in the imported file; known keys are ${known.join(", ")}`
        : `did you mean \`${near}\`?`;
    bag.error("import/unknown-key", `\`${key}\` is no key of ${what}`, [{ span, text: "not understood" }], help);
  }
  return new Map(entries.map(({ key, value }) => [key, value]));
}

function need(fields: Fields, key: string, owner: Item, bag: DiagnosticBag): Item | null {
  const found = fields.get(key);
  if (found !== undefined && !isNothing(found)) return found;
  bag.error(
    "import/missing-key",
    `\`${key}\` is missing`,
    [{ span: found?.span ?? firstOf(owner), text: found === undefined ? "it belongs here" : "nothing is given" }],
    key === "source_model" ? "name the model that the expert comes from" : `add \`${key}:\``,
  );
  return null;
}

function firstOf(owner: Item): Span {
  return owner.kind === "map" ? (owner.entries()[0]?.span ?? owner.span) : owner.span;
}

function readExperts(item: Item | null, bag: DiagnosticBag): readonly Expert[] {
  if (item === null) return [];
  const items = item.kind === "list" ? item.items() : [];
  if (items.length === 0)
    refuse(bag, item, "experts are a list with at least one entry", "write `- source_model: NAME`");
  return items.flatMap((entry): readonly Expert[] => {
    const fields = readFields(entry, "an expert", EXPERT, bag);
    if (entry.kind !== "map") return [];
    const source = readSource(need(fields, "source_model", entry, bag), bag);
    const expert = {
      positive: readPrompts(fields.get("positive_prompts"), bag),
      negative: readPrompts(fields.get("negative_prompts"), bag),
      deviation: readNumber(fields.get("noise_scale"), 0, bag),
      scale: readNumber(fields.get("residual_scale"), 1, bag),
    };
    return source === null ? [] : [{ source, ...expert }];
  });
}

/** `NAME`, `NAME@REVISION`, or keys for the same. A folder that is here is taken as it is; of others the revision stays with the name. */
function readSource(item: Item | null, bag: DiagnosticBag): Located<string> | null {
  if (item?.kind !== "map") {
    const text = item === null ? null : readText(item, bag);
    if (item === null || text === null) return null;
    if (text.includes("+")) return refuseAdapter(item, bag);
    const [path, revision] = text.split("@") as [string, string?];
    return { value: isFolder(text) || revision === undefined ? text : nameRevision(path, revision), span: item.span };
  }
  const fields = readFields(item, "a model", SOURCE, bag);
  const lora = fields.get("lora");
  if (!isNothing(lora)) return refuseAdapter(lora!, bag);
  const model = fields.get("model");
  const revision = fields.get("revision");
  if (!isNothing(model) && isNothing(fields.get("path"))) return readSource(model!, bag);
  const path = need(fields, "path", item, bag);
  const text = path === null ? null : readText(path, bag);
  if (path === null || text === null) return null;
  if (isNothing(revision)) return { value: text, span: path.span };
  return { value: nameRevision(text, readName(revision!, bag).value), span: path.span };
}

const nameRevision = (path: string, revision: string): string => (isFolder(path) ? path : `${path}@${revision}`);

function refuseAdapter(item: Item, bag: DiagnosticBag): null {
  return refuse(bag, item, "an adapter on a model cannot be merged here", "merge it first, and name the merged model");
}

function readName(item: Item, bag: DiagnosticBag): Located<string> {
  return { value: readText(item, bag) ?? "", span: item.span };
}

function readText(item: Item, bag: DiagnosticBag): string | null {
  if (item.kind === "scalar" && typeof item.value === "string" && /^[^\n\r]*\S[^\n\r]*$/.test(item.value))
    return item.value.trim();
  return refuse(bag, item, "a name is needed here", "write it as text on one line");
}

function readPrompts(item: Item | undefined, bag: DiagnosticBag): readonly string[] {
  if (item === undefined || isNothing(item)) return [];
  const items = item.kind === "list" ? item.items() : [item];
  return items.flatMap((prompt): readonly string[] => {
    const value = prompt.kind === "scalar" ? prompt.value : null;
    if (value === "") {
      refuse(bag, prompt, "a prompt is empty", "write what should go to the expert, or leave the prompt out");
      return [];
    }
    if (item.kind === "list" && typeof value === "string") return [value];
    refuse(bag, prompt, "prompts are a list of texts", 'write `- "a text"`, in quotes where it has a colon');
    return [];
  });
}

function readNumber(item: Item | undefined, otherwise: number, bag: DiagnosticBag): number {
  if (item === undefined || isNothing(item)) return otherwise;
  // Weights are f32 at most; in them, a larger number is infinite.
  if (item.kind === "scalar" && typeof item.value === "number" && Math.abs(item.value) <= LIMITS.f32) return item.value;
  refuse(bag, item, "a number is needed here", "write it such as 0.5");
  return otherwise;
}

/** Where a configuration says nothing. */
const USUAL_PER_TOKEN = 2;

function usualPerToken(experts: readonly Expert[], bag: DiagnosticBag): number {
  const [only] = experts;
  if (only !== undefined && experts.length < USUAL_PER_TOKEN)
    bag.error(
      "import/missing-key",
      `\`experts_per_token\` is missing, and ${USUAL_PER_TOKEN}, the usual number, cannot be chosen from ${experts.length}`,
      [{ span: only.source.span, text: "the only expert" }],
      "write `experts_per_token: 1`, or add experts",
    );
  return USUAL_PER_TOKEN;
}

function readPerToken(item: Item, most: number, bag: DiagnosticBag): number {
  const value = readNumber(item, NaN, bag);
  if (Number.isNaN(value) || (Number.isInteger(value) && value >= 1 && (value <= most || most === 0))) return value;
  refuse(
    bag,
    item,
    `${value} experts per token cannot be chosen from ${most}`,
    `write a whole number from 1 to ${most}`,
  );
  return value;
}

function readDtype(item: Item | undefined, bag: DiagnosticBag): ElementType | null {
  if (item === undefined || isNothing(item)) return null;
  const name = readText(item, bag);
  if (name === null) return null;
  const plain = name.replace(/^torch\./, "");
  const found = Object.hasOwn(DTYPES, plain) ? DTYPES[plain]! : null;
  return (
    found ??
    refuse(
      bag,
      item,
      `\`${name}\` is no type that weights are stored as`,
      `write one of ${Object.keys(DTYPES).join(", ")}`,
    )
  );
}

function refuse(bag: DiagnosticBag, item: Item, message: string, help: string): null {
  bag.error("import/bad-value", message, [{ span: item.span, text: "here" }], help);
  return null;
}
