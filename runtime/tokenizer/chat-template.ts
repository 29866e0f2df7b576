/**
 * The chat templates (Jinja) that stand beside a tokenizer, from wherever they may: files of their own come before what
 * `tokenizer_config.json` says, as in transformers, and the older `chat_template.json` comes last.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { type Folder, readJsonObject } from "../checkpoint/folder.ts";

/** The folder of templates that are not the default; a file's name is the template's. */
export const TEMPLATE_FOLDER = "additional_chat_templates";

/** The name of the one that a chat takes unless it asks for another. */
export const DEFAULT_TEMPLATE = "default";

/** Templates by name; empty where there are none. Throws `checkpoint/bad-tokenizer` where they are written as nothing known. */
export async function readTemplates(
  folder: Folder,
  settings: Readonly<Record<string, unknown>> | null,
): Promise<ReadonlyMap<string, string>> {
  const files = await readFiles(folder);
  if (files.size > 0) return files;
  const stated = parseTemplates(settings?.["chat_template"], folder.pathOf("tokenizer_config.json"));
  if (stated.size > 0) return stated;
  const older = "chat_template.json";
  return parseTemplates((await readJsonObject(folder, older))?.["chat_template"], folder.pathOf(older));
}

/** The files in the folder of templates that are not the default; none where there is no such folder. */
export async function listTemplates(folder: Folder): Promise<readonly string[]> {
  return (await folder.list(TEMPLATE_FOLDER)).filter((name) => name.endsWith(".jinja"));
}

async function readFiles(folder: Folder): Promise<ReadonlyMap<string, string>> {
  const others = (await listTemplates(folder)).map(
    (name) => [name.slice(0, -".jinja".length), `${TEMPLATE_FOLDER}/${name}`] as const,
  );
  const found = new Map<string, string>();
  for (const [name, file] of [[DEFAULT_TEMPLATE, "chat_template.jinja"] as const, ...others]) {
    const text = await folder.readText(file);
    if (text !== null) found.set(name, text);
  }
  return found;
}

/** One text, a list of names with their texts, or an object of them. */
function parseTemplates(json: unknown, path: string): ReadonlyMap<string, string> {
  if (json === undefined || json === null) return new Map();
  if (typeof json === "string") return new Map([[DEFAULT_TEMPLATE, json]]);
  const named: readonly (readonly [unknown, unknown])[] = Array.isArray(json)
    ? json.map((entry: Readonly<Record<string, unknown>> | null) => [entry?.["name"], entry?.["template"]])
    : Object.entries(json);
  const isText = (pair: readonly [unknown, unknown]): pair is readonly [string, string] =>
    typeof pair[0] === "string" && typeof pair[1] === "string";
  if (named.every(isText)) return new Map(named);
  throw failure(
    "checkpoint/bad-tokenizer",
    `\`chat_template\` of \`${path}\` is neither a text nor a list of texts with names`,
    {
      help: 'write a text, or a list such as [{"name": "default", "template": "..."}]',
    },
  );
}
