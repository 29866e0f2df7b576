/**
 * Where `.moe` text comes from on a machine with files: the standard library, found by walking its folder, and imports
 * relative to the importing file.
 */
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { MapBinding, ModuleLoader, Scope } from "../compiler/index.ts";
import { checkModule, Workspace } from "../compiler/index.ts";
import { failure, MoeError } from "../grammar/diagnostic.ts";
import type { SourceFile } from "../grammar/span.ts";

/** The folder of the standard library: beside the sources, or one up from the built package. */
export function standardLibraryFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = [join(here, "..", "stdlib"), join(here, "..", "..", "stdlib")].find((p) => existsSync(p));
  if (found === undefined) throw new Error("the standard library's folder is missing from this installation");
  return found;
}

let standard: readonly SourceFile[] | null = null;

/** Every `.moe` file of the standard library, in a stable order. */
export function standardLibrary(): readonly SourceFile[] {
  if (standard !== null) return standard;
  const root = standardLibraryFolder();
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((p) => p.endsWith(".moe"))
    .sort();
  standard = paths.map((path) => ({
    path: `std/${path.replaceAll("\\", "/")}`,
    text: readFileSync(join(root, path), "utf8"),
  }));
  return standard;
}

/** Reads one file; a missing one is a clear error. */
export function readSource(path: string): SourceFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw failure(
      "cli/no-file",
      `cannot read ${path}: ${code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : String(code)}`,
      { help: "check the path" },
    );
  }
  if (text.includes("\0"))
    throw failure("cli/no-file", `cannot read ${path}: it is not text`, { help: "give a .moe file" });
  return { path: shorten(path), text };
}

export const fileLoader: ModuleLoader = {
  get std() {
    return standardLibrary();
  },
  load(specifier, from) {
    if (!specifier.startsWith(".") && !specifier.startsWith("/")) return null;
    const path = resolve(dirname(resolve(from.path)), specifier);
    const file = [path, `${path}.moe`].find((p) => existsSync(p));
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
  const errors = checkModule(workspace, scope).filter((d) => d.severity === "error");
  if (errors.length > 0) throw new MoeError(errors);
  return scope;
}

/** The maps of a file, which must be right and have some. */
export function readMaps(workspace: Workspace, path: string): readonly MapBinding[] {
  const scope = openChecked(workspace, path);
  const maps = scope.module.items.flatMap((item): MapBinding[] => (item.kind === "map" ? [{ item, scope }] : []));
  if (maps.length === 0)
    throw failure("cli/no-map", `${path} declares no map`, { help: "write `map name: Model { ... }` in it" });
  return maps;
}

function shorten(path: string): string {
  const short = relative(process.cwd(), resolve(path));
  return short.startsWith("..") || short === "" ? path : short;
}
