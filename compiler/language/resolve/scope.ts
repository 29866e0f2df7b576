/**
 * What names mean in one file: its own declarations, what it imports, and what every file sees. A scope belongs to one text; another
 * text of the same file has a scope of its own.
 */
import type { Import, Item, MapDecl, MixtureDecl, Module } from "../../../grammar/ast.ts";
import type { Diagnostic } from "../../../grammar/diagnostic.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { ParsedFile } from "../../../grammar/parse.ts";
import type { SourceFile } from "../../../grammar/span.ts";
import { BUILTINS } from "../builtins.ts";

export type NamedItem = Exclude<Item, { kind: "test" | "mixture" }>;

/** One parsed file with what its names mean. */
export interface Scope {
  readonly module: Module;
  readonly file: SourceFile;
  readonly lookup: (name: string) => Binding | null;
  /** A declaration of this file itself: what it exports. */
  readonly own: (name: string) => Binding | null;
  /** Everything visible, for suggestions. */
  readonly names: () => readonly string[];
  /** Names that an import would bring in from the standard library. */
  readonly isExported: (name: string) => boolean;
  /**
   * Whether nothing is known of a name: a syntax error is in its declaration, or its import failed. That is told there, and nothing more
   * is said where the name is used.
   */
  readonly isUnread: (name: string) => boolean;
  /** Whether a declaration of this file was read to its end. */
  readonly isWhole: (item: Item) => boolean;
  /** The files that it imports from beside the standard library, by how it names them. */
  readonly imports: ReadonlyMap<string, Scope>;
  /** What is wrong with its text and its imports; what is wrong inside of declarations is found by checking them. */
  readonly diagnostics: readonly Diagnostic[];
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

/** What a file sees of the standard library. */
export interface Outside {
  /** What is in scope without an import. */
  readonly lookup: (name: string) => Binding | null;
  readonly names: () => readonly string[];
  readonly isExported: (name: string) => boolean;
  readonly library: (name: string) => Binding | null;
  readonly libraryNames: () => readonly string[];
  readonly mixtures: (but: SourceFile) => readonly MixtureBinding[];
  readonly maps: () => readonly MapBinding[];
}

/** The file that an import means, opened; null when there is none. */
export type OpenImport = (specifier: string, from: SourceFile) => Scope | null;

const isNamed = (item: Item): item is NamedItem => item.kind !== "test" && item.kind !== "mixture";

/** The scope of a file. `open` is asked after `register` was told the scope, so that files may import each other. */
export function makeScope(
  { module, diagnostics, damage }: ParsedFile,
  outside: Outside,
  open: OpenImport,
  register: (scope: Scope) => void,
): Scope {
  const { file } = module.span;
  const bag = new DiagnosticBag();
  for (const d of diagnostics) bag.add(d);
  const own = new Map<string, Binding>();
  const imported = new Map<string, Binding>();
  const unread = new Set<string>();
  const imports = new Map<string, Scope>();
  const scope: Scope = {
    module,
    file,
    imports,
    isUnread: (name) => unread.has(name) || (damage.isNameless && !BUILTINS.has(name) && scope.lookup(name) === null),
    diagnostics: bag.list,
    isWhole: (item) => !damage.items.has(item),
    own: (name) => own.get(name) ?? null,
    lookup: (name) => own.get(name) ?? (unread.has(name) ? null : (imported.get(name) ?? outside.lookup(name))),
    names: () => [...own.keys(), ...imported.keys(), ...outside.names()],
    isExported: outside.isExported,
    library: outside.library,
    mixtures: () => [...mixturesOf(scope), ...outside.mixtures(file)],
    maps: () =>
      [...own.values(), ...imported.values(), ...outside.maps()].filter((b): b is MapBinding => b.item.kind === "map"),
  };
  register(scope);
  const first = new Map<string, NamedItem>();
  for (const item of module.items) {
    if (!isNamed(item)) continue;
    const { text, span } = item.name;
    const before = first.get(text);
    if (before !== undefined) {
      bag.error(
        "name/duplicate",
        `\`${text}\` is declared twice in this file`,
        [
          { span, text: "declared again here" },
          { span: before.name.span, text: "first declared here" },
        ],
        "rename one of them",
      );
      continue;
    }
    first.set(text, item);
    if (scope.isWhole(item)) own.set(text, { item, scope });
    else unread.add(text);
  }
  const lost = [...damage.names].filter(([name]) => !first.has(name));
  for (const [name, { isDeclared }] of lost) if (isDeclared) unread.add(name);
  for (const declaration of module.imports)
    bindImport(declaration, { scope, bag, imported, unread, imports, outside, open });
  if (lost.length === 0) return scope;
  const visible = new Set(scope.names());
  for (const [name, { isDeclared }] of lost)
    if (!isDeclared && !visible.has(name) && !BUILTINS.has(name)) unread.add(name);
  return scope;
}

export function mixturesOf(scope: Scope): readonly MixtureBinding[] {
  return scope.module.items.flatMap((item) =>
    item.kind === "mixture" && scope.isWhole(item) ? [{ item, scope }] : [],
  );
}

interface Binder {
  readonly scope: Scope;
  readonly bag: DiagnosticBag;
  readonly imported: Map<string, Binding>;
  readonly unread: Set<string>;
  readonly imports: Map<string, Scope>;
  readonly outside: Outside;
  readonly open: OpenImport;
}

/** What an import takes its names from. */
interface Exporter {
  readonly find: (name: string) => Binding | null;
  readonly names: () => readonly string[];
  /** Whether a name may be declared in a part of the file that could not be read. */
  readonly isLost: (name: string) => boolean;
}

function bindImport(declaration: Import, binder: Binder): void {
  const { bag, imported, unread } = binder;
  const from = exporterOf(declaration, binder);
  if (from === null) return;
  for (const { name, alias } of declaration.names) {
    const as = alias ?? name;
    if (imported.has(as.text))
      bag.error(
        "name/duplicate",
        `\`${as.text}\` is imported twice`,
        [{ span: as.span, text: "imported again here" }],
        "remove one of them, or rename it: `import { a as b }`",
      );
    const binding = from.find(name.text);
    if (binding !== null) imported.set(as.text, binding);
    // That its file has an error is told where the file that imports it is checked.
    else if (from.isLost(name.text)) unread.add(as.text);
    else if (!BUILTINS.has(name.text)) {
      unread.add(as.text);
      const near = suggest(name.text, from.names());
      bag.error(
        "name/no-export",
        `\`${declaration.from}\` has no \`${name.text}\``,
        [{ span: name.span, text: "not declared there" }],
        near === null ? null : `did you mean \`${near}\`?`,
      );
    }
  }
}

/** Null after reporting that there is no such file; then nothing is known of the names either. */
function exporterOf(declaration: Import, { scope, bag, unread, imports, outside, open }: Binder): Exporter | null {
  if (declaration.from === "std") return { find: outside.library, names: outside.libraryNames, isLost: () => false };
  const target = open(declaration.from, scope.file);
  if (target === null) {
    for (const { name, alias } of declaration.names) unread.add((alias ?? name).text);
    bag.error(
      "name/no-module",
      `there is no module \`${declaration.from}\``,
      [{ span: declaration.fromSpan, text: "not found from this file" }],
      'write "std" for the standard library, or a path relative to this file such as "./router.moe"',
    );
    return null;
  }
  imports.set(declaration.from, target);
  // Of a file that is refused as a whole nothing is known.
  const isRefused = target.module.items.length === 0 && target.diagnostics.length > 0;
  return {
    find: target.own,
    names: () => target.module.items.filter(isNamed).map((i) => i.name.text),
    isLost: (name) => isRefused || target.isUnread(name),
  };
}
