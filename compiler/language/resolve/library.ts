/**
 * The standard library: one name space over all its files. A file is parsed when a name of it is first used, which a look at the lines
 * that begin declarations makes possible; its own files see all of it, others its functions, and import the rest.
 */
import type { SourceFile } from "../../../grammar/span.ts";
import type { Parses } from "./parses.ts";
import {
  type Binding,
  makeScope,
  type MixtureBinding,
  mixturesOf,
  type NamedItem,
  type Outside,
  type Scope,
} from "./scope.ts";

/** A declaration that is known by name and not parsed yet. */
interface Listed {
  readonly keyword: string;
  readonly file: SourceFile;
}

/** Declarations begin lines, as the formatter has them. */
const DECLARATION = /^(dim|fn|layer|router|model|optimizer|config|map|upcycle)[ \t]+([A-Za-z_]\w*)/gm;
const MIXTURE = /^mixture[ \t]+[A-Za-z_]/m;

export class Library {
  readonly files: readonly SourceFile[];
  readonly #parses: Parses;
  #known: ReadonlyMap<string, Listed> | null = null;
  readonly #scopes = new Map<SourceFile, Scope>();
  /** Files with `mixture` declarations, once they have been looked for. */
  #relating: readonly SourceFile[] | null = null;

  constructor(files: readonly SourceFile[], parses: Parses) {
    this.files = files;
    this.#parses = parses;
  }

  get #listed(): ReadonlyMap<string, Listed> {
    this.#known ??= new Map(
      this.files.flatMap((file) =>
        [...file.text.matchAll(DECLARATION)].map(([, keyword, name]): [string, Listed] => [
          name!,
          { keyword: keyword!, file },
        ]),
      ),
    );
    return this.#known;
  }

  /** The scope of one of its files. */
  open(file: SourceFile): Scope {
    const known = this.#scopes.get(file);
    if (known !== undefined) return known;
    const noImports = (): null => null;
    return makeScope(this.#parses.of(file), this.outside(true), noImports, (scope) => this.#scopes.set(file, scope));
  }

  /** All declarations of one kind, e.g. every `map`. */
  standard<K extends NamedItem["kind"]>(
    kind: K,
  ): readonly (Binding & { readonly item: Extract<NamedItem, { kind: K }> })[] {
    const bindings = [...this.#listed]
      .filter(([, l]) => (["router", "model", "optimizer"].includes(l.keyword) ? "layer" : l.keyword) === kind)
      .map(([name]) => this.#find(name));
    return bindings.filter((b): b is Binding & { item: Extract<NamedItem, { kind: K }> } => b?.item.kind === kind);
  }

  /** What its own files see without imports: `everything`; others see functions. */
  outside(everything: boolean): Outside {
    const isOpen = (listed: Listed | undefined): boolean => everything || listed?.keyword === "fn";
    return {
      lookup: (name) => (isOpen(this.#listed.get(name)) ? this.#find(name) : null),
      names: () => [...this.#listed].filter(([, listed]) => isOpen(listed)).map(([name]) => name),
      isExported: (name) => !everything && this.#listed.has(name),
      library: (name) => this.#find(name),
      libraryNames: () => [...this.#listed.keys()],
      mixtures: (but) => this.#mixtures(but),
      maps: () => this.standard("map"),
    };
  }

  #mixtures(but: SourceFile): readonly MixtureBinding[] {
    this.#relating ??= this.files.filter((f) => MIXTURE.test(f.text));
    return this.#relating.filter((f) => f.path !== but.path).flatMap((f) => mixturesOf(this.open(f)));
  }

  #find(name: string): Binding | null {
    const listed = this.#listed.get(name);
    return listed === undefined ? null : this.open(listed.file).own(name);
  }
}
