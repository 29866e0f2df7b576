/**
 * Checkpoints that carry their model. Where no class of transformers can hold a model, the `.moe` files that declare it and its
 * map go into the header of the weights, under `moec.source`: the user's files with what they import from each other, or the
 * file of the standard library that it is from. What they import from "std" stays an import. Text from a stranger: it is only
 * ever parsed and checked, it can name no file of the machine that reads it, and what is wrong with it is a diagnostic.
 */
import type { Json, MapBinding, Scope } from "../../compiler/index.ts";
import { checkModule, usesOf, Workspace, writeConfig, type Model } from "../../compiler/index.ts";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import type { SourceFile } from "../../grammar/span.ts";
import type { Checkpoint } from "../checkpoint/store.ts";

const KEY = "moec.source";

interface Embedded {
  /** The file with the map. */
  readonly entry: string;
  readonly map: string;
  readonly files: readonly { readonly path: string; readonly text: string }[];
}

/** More text than any model needs. */
const MOST_CHARACTERS = 1_000_000;

/** For the header of a checkpoint of this model: its source, where transformers has no class that its config names. */
export function embedSource(map: MapBinding, model: Model, library: Workspace): Readonly<Record<string, string>> {
  const isStandard = ({ file }: Scope): boolean => library.standardFiles.includes(file);
  if (isStandard(map.scope) && hasClass(writeConfig(map, model.args)["architectures"])) return {};
  const files = new Map<string, string>();
  const visit = (scope: Scope, path: string): void => {
    if (files.has(path)) return;
    files.set(path, isStandard(scope) ? withImports(scope) : scope.file.text);
    for (const [specifier, other] of scope.imports) {
      // A map whose model was imported takes the model's file along.
      const target = resolveImport(path, specifier);
      visit(other, target.endsWith(".moe") ? target : `${target}.moe`);
    }
  };
  const entry = map.scope.file.path.split(/[\\/#]/).at(-1)!;
  visit(map.scope, entry);
  const embedded: Embedded = {
    entry,
    map: map.item.name.text,
    files: [...files].map(([path, text]) => ({ path, text })),
  };
  return { [KEY]: JSON.stringify(embedded) };
}

/** Classes of transformers that have logits are called so. */
function hasClass(architectures: Json | undefined): boolean {
  return (
    Array.isArray(architectures) && architectures.some((name) => /(?:ForCausalLM|LMHeadModel)$/.test(String(name)))
  );
}

/** A file of the library sees all of it; by itself it has to import what it uses. */
function withImports(scope: Scope): string {
  const { file } = scope;
  // Functions of the library are in scope everywhere.
  const used = usesOf(scope).flatMap(({ declared }) =>
    declared?.kind === "item" && declared.scope !== scope && declared.item.kind !== "fn" ? [declared.name.text] : [],
  );
  return used.length === 0
    ? file.text
    : file.text.replace(/^(edition \d+\n)/, `$1import { ${[...new Set(used)].sort().join(", ")} } from "std"\n`);
}

/**
 * The map that a checkpoint brings along, over the standard library of a workspace; null when it brings none. Throws `checkpoint/bad-source`,
 * and what is wrong in its text.
 */
export function openEmbedded(
  { path, metadata }: Pick<Checkpoint, "path" | "metadata">,
  library: Workspace,
): MapBinding | null {
  const text = metadata[KEY];
  if (text === undefined) return null;
  const { entry, map, files } = parseEmbedded(path, text);
  // Messages name the checkpoint, and the file in it.
  const named = new Map(files.map((file) => [file.path, { path: `${path}#${file.path}`, text: file.text }]));
  const prefix = `${path}#`;
  const workspace = new Workspace({
    std: library.standardFiles,
    load: (specifier, from) => {
      const target = resolveImport(from.path.slice(prefix.length), specifier);
      return named.get(target) ?? named.get(`${target}.moe`) ?? null;
    },
  });
  const scope = openChecked(workspace, named.get(entry)!, path);
  const item = scope.module.items.find((i) => i.kind === "map" && i.name.text === map);
  if (item?.kind !== "map") throw badSource(path, `its files have no map \`${map}\``);
  return { item, scope };
}

function openChecked(workspace: Workspace, file: SourceFile, path: string): Scope {
  try {
    const scope = workspace.open(file);
    const errors = checkModule(scope).filter((d) => d.severity === "error");
    if (errors.length > 0) throw new MoeError(errors);
    return scope;
  } catch (cause) {
    // Text that is nested without end.
    if (cause instanceof RangeError) throw badSource(path, "its text is nested too deeply");
    throw cause;
  }
}

function parseEmbedded(path: string, text: string): Embedded {
  if (text.length > MOST_CHARACTERS)
    throw badSource(path, `it has ${text.length} characters, more than ${MOST_CHARACTERS}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw badSource(path, "it is not JSON");
  }
  const { entry, map, files } = (json ?? {}) as Partial<Record<keyof Embedded, unknown>>;
  const isFile = (file: unknown): file is Embedded["files"][number] => {
    const { path: name, text: content } = (file ?? {}) as Record<string, unknown>;
    return typeof name === "string" && typeof content === "string";
  };
  if (typeof entry !== "string" || typeof map !== "string" || !Array.isArray(files) || !files.every(isFile))
    throw badSource(path, "it does not say which files, and which map in them");
  if (!files.some((file) => file.path === entry)) throw badSource(path, `it has no file \`${entry}\``);
  return { entry, map, files };
}

function badSource(path: string, problem: string): Error {
  return failure("checkpoint/bad-source", `the model that \`${path}\` brings along cannot be read: ${problem}`, {
    help: "pass a file with the model and its map: --map FILE.moe",
  });
}

/** The path that an import in the file `from` leads to: `a/b.moe` and `../c` give `c`. */
function resolveImport(from: string, specifier: string): string {
  const found: string[] = [];
  for (const part of [...from.split("/").slice(0, -1), ...specifier.split("/")]) {
    if (part === "" || part === ".") continue;
    if (part === ".." && found.length > 0 && found.at(-1) !== "..") found.pop();
    else found.push(part);
  }
  return found.join("/");
}
