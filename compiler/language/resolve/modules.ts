/**
 * Modules and names. A `Workspace` parses every file that an entry file needs, once; `"std"` is one name space over all
 * files of the standard library, found by walking. Functions of the standard library are in scope everywhere (the
 * prelude); layers, routers, models, maps and upcyclings are imported. Text arrives only through the `ModuleLoader`.
 * A workspace never changes what it said: an edited file makes another one, which shares all that the edit does not touch.
 */
import { callback, checkOption, list, members, needed, sourceFile } from "../../../grammar/option.ts";
import type { SourceFile } from "../../../grammar/span.ts";
import { Library } from "./library.ts";
import { Parses } from "./parses.ts";
import { type Binding, makeScope, type NamedItem, type Scope } from "./scope.ts";

/** The only way text arrives in the compiler. Paths are whatever the loader makes of them; the compiler never joins them. */
export interface ModuleLoader {
  /** Every file of the standard library; each says so of itself (`isLibrary`). */
  readonly std: readonly SourceFile[];
  /** The file that `specifier` means in an import written in `from`; null when there is none. */
  readonly load: (specifier: string, from: SourceFile) => SourceFile | null;
}

const LOADER = needed(
  members<ModuleLoader>("a loader: { std, load }, a list of files and a function", {
    std: needed(list(sourceFile, "a list of files")),
    load: needed(callback),
  }),
);
const FILE = needed(sourceFile);

export class Workspace {
  readonly #loader: ModuleLoader;
  #parses = new Parses();
  #library: Library;
  /** The text that each path has here; an import that leads to one means this text. */
  #files = new Map<string, SourceFile>();
  #edited: ReadonlySet<string> = new Set();
  #scopes = new Map<SourceFile, Scope>();

  /** Throws `option/*`. */
  constructor(loader: ModuleLoader) {
    checkOption("Workspace", "loader", loader, LOADER);
    this.#loader = loader;
    this.#library = new Library(loader.std, this.#parses);
  }

  /** Parses a file (once) and binds its imports. Another text of the same path has another scope. Throws `option/*`. */
  open(file: SourceFile): Scope {
    checkOption("open", "file", file, FILE);
    return this.#library.files.includes(file) ? this.#library.open(file) : this.#open(this.#intern(file));
  }

  /** The scope of a text that sees all of the library without imports, such as an option of a command. Throws `option/*`. */
  openInLibrary(file: SourceFile): Scope {
    checkOption("openInLibrary", "file", file, FILE);
    return this.#library.open(file);
  }

  /**
   * The workspace in which the file of this path has this text, for those who import it too. What does not depend on it is shared with
   * this one, which stays as it is. Limits: imports lead to a new file only once the loader finds one there. Throws `option/*`.
   */
  with(file: SourceFile): Workspace {
    checkOption("with", "file", file, FILE);
    const next = new Workspace(this.#loader);
    next.#parses = this.#parses;
    next.#files = new Map(this.#files).set(file.path, file);
    next.#edited = new Set(this.#edited).add(file.path);
    const { files } = this.#library;
    const at = files.findIndex((f) => f.path === file.path);
    next.#library = at < 0 ? this.#library : new Library(files.with(at, file), this.#parses);
    // Every file sees the library.
    if (at < 0) next.#scopes = this.#untouchedBy(file.path);
    return next;
  }

  /** All declarations of one kind in the standard library, e.g. every `map`. */
  standard<K extends NamedItem["kind"]>(
    kind: K,
  ): readonly (Binding & { readonly item: Extract<NamedItem, { kind: K }> })[] {
    return this.#library.standard(kind);
  }

  /** Every file of the standard library. */
  get standardFiles(): readonly SourceFile[] {
    return this.#library.files;
  }

  /** The same, parsed. */
  get standardScopes(): readonly Scope[] {
    return this.#library.files.map((file) => this.#library.open(file));
  }

  #open(file: SourceFile): Scope {
    const known = this.#scopes.get(file);
    if (known !== undefined) return known;
    return makeScope(
      this.#parses.of(file),
      this.#library.outside(false),
      (specifier, from) => {
        const target = this.#load(specifier, from);
        return target === null ? null : this.#open(target);
      },
      (scope) => this.#scopes.set(file, scope),
    );
  }

  #load(specifier: string, from: SourceFile): SourceFile | null {
    const found = this.#loader.load(specifier, from);
    if (found === null) return null;
    return this.#edited.has(found.path) ? this.#files.get(found.path)! : this.#intern(found);
  }

  /** One object for one text, however often it is read. */
  #intern(file: SourceFile): SourceFile {
    const known = this.#files.get(file.path);
    if (known?.text === file.text) return known;
    if (!this.#edited.has(file.path)) this.#files.set(file.path, file);
    return file;
  }

  /** Scopes that would be the same whatever text a path has. A file that was not found may be there now. */
  #untouchedBy(path: string): Map<SourceFile, Scope> {
    const isTouched = (scope: Scope): boolean =>
      scope.file.path === path ||
      scope.module.imports.some(({ from }) => from !== "std" && !scope.imports.has(from)) ||
      [...scope.imports.values()].some((other) => touched.has(other));
    const touched = new Set<Scope>();
    const scopes = [...this.#scopes];
    for (let before = -1; touched.size > before;) {
      before = touched.size;
      for (const [, scope] of scopes) if (isTouched(scope)) touched.add(scope);
    }
    return new Map(scopes.filter(([, scope]) => !touched.has(scope)));
  }
}
