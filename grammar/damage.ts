/**
 * What syntax errors took away. The rest of a file can still be read; this says of which declarations and names nothing is known, so that
 * one mistake does not look like many. Limits: names in a part that was skipped are found by the words around them.
 */
import type { Item } from "./ast.ts";
import type { Diagnostic } from "./diagnostic.ts";

export interface Damage {
  /** Declarations with an error inside, and the first error of each. Something of them may be missing. */
  readonly items: ReadonlyMap<Item, Diagnostic>;
  /** Names in parts that were skipped. */
  readonly names: ReadonlyMap<string, LostName>;
  /** The name of a declaration is missing: it may be any that is used and not known. */
  readonly isNameless: boolean;
}

export interface LostName {
  readonly error: Diagnostic;
  /** It stands where a declaration or an import has its name. Others may have been declared there, or only used. */
  readonly isDeclared: boolean;
}

export const NO_DAMAGE: Damage = { items: new Map(), names: new Map(), isNameless: false };

/** With what the lexer could not read: characters inside of a declaration. */
export function damageOfCharacters(damage: Damage, all: readonly Item[], wrong: readonly Diagnostic[]): Damage {
  const more = new Map(damage.items);
  for (const error of wrong) {
    const at = error.labels[0]!.span.start;
    const item = all.find(({ span }) => span.start <= at && at < span.end);
    if (item !== undefined && !more.has(item)) more.set(item, error);
  }
  return { ...damage, items: more };
}
