/**
 * Where `.moe` text comes from on a machine with files: the standard library, found by walking its folder, and imports
 * relative to the importing file.
 */
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { MapBinding, ModuleLoader, Scope } from "../../compiler/index.ts";
import { checkModule, Workspace } from "../../compiler/index.ts";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { checkOption, needed, text } from "../../grammar/option.ts";
import type { SourceFile } from "../../grammar/span.ts";
import { decodeText, exists, find, readBytes, readText, recode } from "../files/read.ts";
import { walkFiles } from "../files/walk.ts";

/** The folder of the standard library: beside the sources, or one up from the built package. */
export function standardLibraryFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = [join(here, "..", "..", "stdlib"), join(here, "..", "..", "..", "stdlib")].find(exists);
  if (found === undefined) throw new Error("the standard library's folder is missing from this installation");
  return found;
}

let standard: readonly SourceFile[] | null = null;

/** Every `.moe` file of the standard library, in a stable order. */
export function standardLibrary(): readonly SourceFile[] {
  if (standard !== null) return standard;
  const root = standardLibraryFolder();
  const paths = walkFiles(root, () => false).filter((p) => p.endsWith(".moe"));
  standard = paths.map((path) => ({
    path: `std/${path.replaceAll("\\", "/")}`,
    text: readText(join(root, path)),
    isLibrary: true,
  }));
  return standard;
}

/** Reads one file. Throws `cli/no-file`, `cli/not-utf8`, `option/missing`, `option/bad-value`, and what reading throws. */
export function readSource(path: string): SourceFile {
  checkOption("readSource", "path", path, needed(text));
  return sourceOf(
    path,
    recode("cli/no-file", () => readBytes(path, MOST_SOURCE_BYTES)),
  );
}

/** More text than any program needs, and the parser's memory holds. */
const MOST_SOURCE_BYTES = 64 << 20;

/** The file of these bytes. */
export function sourceOf(path: string, bytes: Uint8Array): SourceFile {
  if (bytes.includes(0))
    throw failure("cli/no-file", `cannot read ${path}: it is not text`, { help: "give a .moe file" });
  return { path: shorten(path), text: decodeText(path, bytes) };
}

export const fileLoader: ModuleLoader = {
  get std() {
    return standardLibrary();
  },
  load(specifier, from) {
    if (!specifier.startsWith(".") && !specifier.startsWith("/")) return null;
    const path = resolve(dirname(resolve(from.path)), specifier);
    const file = [path, `${path}.moe`].find((p) => recode("cli/no-file", () => find(p))?.isDirectory() === false);
    return file === undefined ? null : readSource(file);
  },
};

/** A workspace over the files of this machine. */
export function openWorkspace(): Workspace {
  return new Workspace(fileLoader);
}

/** Opens a file of the command line. One of the standard library sees all of that library, as it does when it is imported. */
export function openFile(workspace: Workspace, path: string): Scope {
  const inside = relative(standardLibraryFolder(), resolve(path)).replaceAll("\\", "/");
  const own = inside.startsWith("..")
    ? undefined
    : workspace.standardScopes.find((s) => s.file.path === `std/${inside}`);
  return own ?? workspace.open(readSource(path));
}

/** The same, for a file that must have no errors; throws them. */
export function openChecked(workspace: Workspace, path: string): Scope {
  const scope = openFile(workspace, path);
  const errors = checkModule(scope).filter((d) => d.severity === "error");
  if (errors.length > 0) throw new MoeError(errors);
  return scope;
}

/** The maps of a file, which must be right and have some. */
export function readMaps(workspace: Workspace, path: string): readonly MapBinding[] {
  const scope = openChecked(workspace, path);
  const maps = mapsIn(scope);
  if (maps.length === 0)
    throw failure("cli/no-map", `${path} declares no map`, { help: "write `map name: Model { ... }` in it" });
  return maps;
}

/** Those that a module declares. */
export function mapsIn(scope: Scope): readonly MapBinding[] {
  return scope.module.items.flatMap((item): MapBinding[] => (item.kind === "map" ? [{ item, scope }] : []));
}

function shorten(path: string): string {
  const short = relative(process.cwd(), resolve(path));
  return short.startsWith("..") || short === "" ? path : short;
}
