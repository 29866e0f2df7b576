/** Names as they are found, and what they stand for: the tables that a reader of the tree keeps, the innermost last. */
import type { Name } from "../../grammar/ast.ts";
import { withoutPrimes } from "../graph/type.ts";
import { BUILTINS } from "../language/builtins.ts";
import type { NamedItem, Scope } from "../language/resolve/scope.ts";

/** What a name stands for. `name` is where it is declared. */
export type Declared =
  | { readonly kind: "builtin"; readonly text: string }
  | { readonly kind: "item"; readonly name: Name; readonly item: NamedItem; readonly scope: Scope }
  | {
      readonly kind: "parameter" | "argument" | "member" | "axis" | "local" | "index" | "metric";
      readonly name: Name;
    }
  /** A word that a place understands: of types, of tests, of upcyclings. */
  | { readonly kind: "word"; readonly text: string };

export interface Use {
  readonly name: Name;
  /** `name` is looked up, `step` follows a point, `label` stands before a colon. */
  readonly role: "name" | "step" | "label";
  /** Null where it is not known without values, or not at all. */
  readonly declared: Declared | null;
}

type Own = Exclude<Declared["kind"], "builtin" | "item" | "word" | "metric">;

export class NameTable {
  readonly uses: Use[] = [];
  /** Told of every name that is declared, once it is in scope. */
  onDeclared: ((name: Name) => void) | null = null;
  protected readonly scope: Scope;
  protected tables: Map<string, Declared>[] = [];
  /** Names that mean something where the reader is, if they are nothing else. */
  protected words: (text: string) => boolean = () => false;
  /** What is called so is this, whatever else there is of that name. */
  protected verbs: (text: string) => boolean = () => false;

  constructor(scope: Scope) {
    this.scope = scope;
  }

  protected readName(name: Name): void {
    this.use(name, this.meaning(name));
  }

  /** What a call begins with. */
  protected called(name: Name): Declared | null {
    return this.verbs(name.text) ? { kind: "word", text: name.text } : this.meaning(name);
  }

  private meaning(name: Name): Declared | null {
    return this.lookup(name) ?? (this.words(name.text) ? { kind: "word", text: name.text } : null);
  }

  /** Primes make another label of what the name without them stands for. */
  protected lookup({ text }: Name): Declared | null {
    const base = withoutPrimes(text);
    for (const known of text === base ? [text] : [text, base]) {
      const local = this.tables.findLast((table) => table.has(known))?.get(known);
      if (local !== undefined) return local;
      const binding = this.scope.lookup(known);
      if (binding !== null) return itemOf(binding.item, binding.scope);
      if (BUILTINS.has(known)) return builtin(known);
    }
    return null;
  }

  protected introduce(name: Name, kind: Own): void {
    this.known(name, kind);
    this.use(name, { kind, name });
    this.onDeclared?.(name);
  }

  /** In scope here, and declared elsewhere. */
  protected known(name: Name, kind: Own): void {
    this.tables.at(-1)!.set(name.text, { kind, name });
  }

  protected use(name: Name, declared: Declared | null): void {
    this.record(name, "name", declared);
  }

  protected record(name: Name, role: Use["role"], declared: Declared | null): void {
    this.uses.push({ name, role, declared });
  }

  /** What is in scope where the reader is, of the declaration that it reads; the innermost of each name. */
  get visible(): ReadonlyMap<string, Declared> {
    return new Map(this.tables.flatMap((table) => [...table]));
  }

  protected within(indices: readonly Name[], read: () => void): void {
    this.tables.push(new Map());
    for (const index of indices) this.introduce(index, "index");
    read();
    this.tables.pop();
  }

  /** Reads what does not stand where it is read. */
  protected apart(read: () => void): void {
    const { onDeclared } = this;
    this.onDeclared = null;
    read();
    this.onDeclared = onDeclared;
  }

  protected wording(words: (text: string) => boolean, read: () => void): void {
    const before = this.words;
    this.words = words;
    read();
    this.words = before;
  }
}

export const builtin = (text: string): Declared | null => (BUILTINS.has(text) ? { kind: "builtin", text } : null);

export const itemOf = (item: NamedItem, scope: Scope): Declared => ({ kind: "item", name: item.name, item, scope });
