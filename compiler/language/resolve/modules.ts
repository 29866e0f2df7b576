/**
 * Modules and names. A `Workspace` parses every file that an entry file needs, once; `"std"` is one name space over all
 * files of the standard library, found by walking. Functions of the standard library are in scope everywhere (the
 * prelude); layers, routers, models, maps and upcyclings are imported. Text arrives only through the `ModuleLoader`.
 */
import { calledScalars } from "../../graph/scalar.ts";
import type { Import, Item, MapDecl, MixtureDecl, Module } from "../../../grammar/ast.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { parse, suggest } from "../../../grammar/index.ts";
import type { SourceFile } from "../../../grammar/span.ts";

/** The only way text arrives in the compiler. Paths are whatever the loader makes of them; the compiler never joins them. */
export interface ModuleLoader {
  /** Every file of the standard library. */
  readonly std: readonly SourceFile[];
  /** The file that `specifier` means in an import written in `from`; null when there is none. */
  readonly load: (specifier: string, from: SourceFile) => SourceFile | null;
}

export type NamedItem = Exclude<Item, { kind: "test" | "mixture" }>;

const isNamed = (item: Item): item is NamedItem => item.kind !== "test" && item.kind !== "mixture";

/** One parsed file with what its names mean. */
export interface Scope {
  readonly module: Module;
  readonly file: SourceFile;
  readonly lookup: (name: string) => Binding | null;
  /** Everything visible, for suggestions. */
  readonly names: () => readonly string[];
  /** Names that an import would bring in from the standard library. */
  readonly isExported: (name: string) => boolean;
  /** Imported names that were not found: reported once, where they are imported. */
  readonly unbound: ReadonlySet<string>;
  /** The files that it imports from beside the standard library, by how it names them. */
  readonly imports: ReadonlyMap<string, Scope>;
  /** A declaration of the standard library, imported or not. */
  readonly library: (name: string) => Binding | null;
  /** Every `mixture` declaration: those of this file, then the standard library's. */
  readonly mixtures: () => readonly MixtureBinding[];
  /** Every `map` that this file has or imports, then the standard library's. */
  readonly maps: () => readonly MapBinding[];
}

export interface MixtureBinding {
  readonly item: MixtureDecl;
  readonly scope: Scope;
}

/** A declaration and the scope that its body is read in. */
export interface Binding {
  readonly item: NamedItem;
  readonly scope: Scope;
}

export type MapBinding = Binding & { readonly item: MapDecl };

/** A declaration of the standard library that is known by name and not parsed yet. */
interface Listed {
  readonly keyword: string;
  readonly file: SourceFile;
}

/** Declarations at the start of a line: enough to know which file to parse for a name. */
const DECLARATION = /^(dim|fn|layer|router|model|config|map|upcycle)[ \t]+([A-Za-z_]\w*)/gm;
const MIXTURE = /^mixture[ \t]+[A-Za-z_]/m;

export class Workspace {
  readonly diagnostics = new DiagnosticBag();
  readonly #loader: ModuleLoader;
  readonly #scopes = new Map<string, Scope>();
  /** The standard library by name. Its files are parsed when a name of theirs is first used. */
  readonly #listed = new Map<string, Listed>();
  /** Its files with `mixture` declarations, once they have been looked for. */
  #relating: readonly SourceFile[] | null = null;

  constructor(loader: ModuleLoader) {
    this.#loader = loader;
    for (const file of loader.std) {
      for (const [, keyword, name] of file.text.matchAll(DECLARATION))
        this.#listed.set(name!, { keyword: keyword!, file });
    }
  }

  /** Parses a file (once) and binds its imports. */
  open(file: SourceFile): Scope {
    return this.#open(file, false);
  }

  /** All declarations of one kind in the standard library, e.g. every `map`. */
  standard<K extends NamedItem["kind"]>(
    kind: K,
  ): readonly (Binding & { readonly item: Extract<NamedItem, { kind: K }> })[] {
    const bindings = [...this.#listed]
      .filter(([, l]) => (["router", "model"].includes(l.keyword) ? "layer" : l.keyword) === kind)
      .map(([name]) => this.#std(name));
    return bindings.filter((b): b is Binding & { item: Extract<NamedItem, { kind: K }> } => b?.item.kind === kind);
  }

  /** Every file of the standard library, parsed. */
  get standardScopes(): readonly Scope[] {
    return this.#loader.std.map((file) => this.#open(file, true));
  }

  #std(name: string): Binding | null {
    const listed = this.#listed.get(name);
    if (listed === undefined) return null;
    const scope = this.#open(listed.file, true);
    const item = scope.module.items.filter(isNamed).find((i) => i.name.text === name);
    return item === undefined ? null : { item, scope };
  }

  #open(file: SourceFile, std: boolean): Scope {
    const known = this.#scopes.get(file.path);
    if (known !== undefined) return known;
    const { module, diagnostics } = parse(file);
    for (const d of diagnostics) this.diagnostics.add(d);
    const own = new Map<string, Binding>();
    const imported = new Map<string, Binding>();
    const unbound = new Set<string>();
    const imports = new Map<string, Scope>();
    const scope: Scope = {
      module,
      imports,
      file,
      // A standard file sees the whole standard library: its pieces need no imports of each other to be one library.
      lookup: (name) => own.get(name) ?? imported.get(name) ?? this.#prelude(name, std),
      isExported: (name) => !std && this.#listed.has(name),
      unbound,
      library: (name) => this.#std(name),
      mixtures: () => {
        this.#relating ??= this.#loader.std.filter((f) => MIXTURE.test(f.text));
        const others = this.#relating.filter((f) => f.path !== file.path);
        return [scope, ...others.map((f) => this.#open(f, true))].flatMap((s) =>
          s.module.items.flatMap((item) => (item.kind === "mixture" ? [{ item, scope: s }] : [])),
        );
      },
      maps: () =>
        [...own.values(), ...imported.values(), ...this.standard("map")].filter(
          (b): b is MapBinding => b.item.kind === "map",
        ),
      names: () => [
        ...own.keys(),
        ...imported.keys(),
        ...[...this.#listed].filter(([, l]) => std || l.keyword === "fn").map(([n]) => n),
      ],
    };
    this.#scopes.set(file.path, scope);
    for (const item of module.items) {
      if (!isNamed(item)) continue;
      const first = own.get(item.name.text);
      if (first !== undefined) {
        this.diagnostics.error(
          "name/duplicate",
          `\`${item.name.text}\` is declared twice in this file`,
          [
            { span: item.name.span, text: "declared again here" },
            { span: first.item.name.span, text: "first declared here" },
          ],
          "rename one of them",
        );
      } else own.set(item.name.text, { item, scope });
    }
    for (const declaration of module.imports) this.#bindImport(declaration, file, imported, unbound, imports);
    return scope;
  }

  #prelude(name: string, everything: boolean): Binding | null {
    return everything || this.#listed.get(name)?.keyword === "fn" ? this.#std(name) : null;
  }

  #bindImport(
    declaration: Import,
    file: SourceFile,
    into: Map<string, Binding>,
    unbound: Set<string>,
    imports: Map<string, Scope>,
  ): void {
    let find: (name: string) => Binding | null;
    let candidates: () => readonly string[];
    if (declaration.from === "std") {
      find = (name) => this.#std(name);
      candidates = () => [...this.#listed.keys()];
    } else {
      const target = this.#loader.load(declaration.from, file);
      if (target === null) {
        for (const { name, alias } of declaration.names) unbound.add((alias ?? name).text);
        this.diagnostics.error(
          "name/no-module",
          `there is no module \`${declaration.from}\``,
          [{ span: declaration.fromSpan, text: "not found from this file" }],
          'write "std" for the standard library, or a path relative to this file such as "./router.moe"',
        );
        return;
      }
      const scope = this.#open(target, false);
      imports.set(declaration.from, scope);
      const items = scope.module.items.filter(isNamed);
      find = (name) => {
        const item = items.find((i) => i.name.text === name);
        return item === undefined ? null : { item, scope };
      };
      candidates = () => items.map((i) => i.name.text);
    }
    for (const { name, alias } of declaration.names) {
      const as = alias ?? name;
      const first = into.get(as.text);
      if (first !== undefined)
        this.diagnostics.error(
          "name/duplicate",
          `\`${as.text}\` is imported twice`,
          [{ span: as.span, text: "imported again here" }],
          "remove one of them, or rename it: `import { a as b }`",
        );
      const binding = find(name.text);
      if (binding !== null) into.set(as.text, binding);
      else if (!BUILTIN_NAMES.has(name.text)) {
        unbound.add(as.text);
        const near = suggest(name.text, candidates());
        this.diagnostics.error(
          "name/no-export",
          `\`${declaration.from}\` has no \`${name.text}\``,
          [{ span: name.span, text: "not declared there" }],
          near === null ? null : `did you mean \`${near}\`?`,
        );
      }
    }
  }
}

/** Primitives that need no import; importing them from "std" is allowed and means nothing. */
export const BUILTIN_NAMES: ReadonlySet<string> = new Set([
  ...calledScalars(1),
  ...calledScalars(2),
  "ceil",
  "select",
  "contains",
  "range",
  "without",
  "f32",
  "u32",
  "i32",
  "sum",
  "mean",
  "dot",
  "topk",
  "ranks",
  "take",
  "cumsum",
  "delay",
  "scan",
  "delta_rule",
  "conv",
  "within",
  "iota",
  "position",
  "length",
  "values",
  "split",
  "merge",
  "slice",
  "roll",
  "concat",
  "broadcast",
  "attend",
  "route",
  "param",
  "state",
  "size",
  "zeros",
  "ones",
  "normal",
  "uniform",
  "constant",
  "none",
  "causal",
  "training",
  "generating",
  "batch",
  "global",
  "T",
]);
