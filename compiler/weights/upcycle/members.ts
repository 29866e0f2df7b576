/**
 * What verbs over several arrays run over: the models of a list, or the values of an index that the left side does not bind, which is one of
 * a source's path or names the entries of a list. Every member is a scope of its own.
 */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { walk } from "../../../grammar/index.ts";
import { lookupName } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { eachModel, findPlaces, isSource, rootName, type UpcycleScope } from "./source.ts";
import { axisName, refuse } from "./verb.ts";

/** A scope for every model of the list that the brackets count, or for every value of an index that nothing binds; null after reporting. */
export function membersOf(call: CallExpr, arg: Expr, where: UpcycleScope): readonly UpcycleScope[] | null {
  const list = where.lists.get(axisName(call) ?? "");
  if (list !== undefined) return eachModel(list, where);
  const entries = entriesOf(arg, where);
  if (entries !== null) return entries;
  const path = findSource(arg, where);
  const places = path === null ? null : findPlaces(path, where);
  // Nothing is there, which has been told.
  if (places === null || places.length === 0) return null;
  const bound = places.filter((place) => place.size > 0);
  if (bound.length === 0)
    return refuse(
      call,
      where,
      `\`${axisName(call) ?? "this"}\` counts no list of models, and no index is left open`,
      "write `mean[M](src)` where `src: model[M]` is declared, or `mean[N](src.a[n])` with an `n` that the left side has not",
    );
  return bound.map((indices) => bindIndices(where, indices));
}

/** A scope for every entry of the first list that is indexed by a name that nothing binds, as in `prompts[n]`; null where none is. */
export function entriesOf(arg: Expr, where: UpcycleScope): readonly UpcycleScope[] | null {
  let members: readonly UpcycleScope[] | null = null;
  walk(arg, (node) => {
    if (members !== null) return false;
    if (node.kind !== "bracket" || !("object" in node) || node.object.kind !== "name") return true;
    const list = lookupName(where.env, node.object.name.text);
    const [index, ...more] = node.items;
    if (list?.kind !== "list" || index?.kind !== "name" || more.length > 0) return true;
    const name = index.name.text;
    if (lookupName(where.env, name) !== null) return true;
    members = list.items.map((_, i) => bindIndices(where, new Map([[name, i]])));
    return false;
  });
  return members;
}

function bindIndices(where: UpcycleScope, indices: ReadonlyMap<string, number>): UpcycleScope {
  const numbers = [...indices].map(([n, i]): [string, Value] => [n, { kind: "number", value: i, float: false }]);
  const env = { ...where.env, locals: new Map([...where.env.locals, ...numbers]) };
  return { ...where, env, indices: new Map([...where.indices, ...indices]) };
}

/** The longest path of a source in an expression. */
function findSource(expr: Expr, where: UpcycleScope): Expr | null {
  let found: Expr | null = null;
  walk(expr, (node) => {
    if (found !== null) return false;
    if ((node.kind === "member" || node.kind === "bracket" || node.kind === "name") && "span" in node) {
      const path = node as Expr;
      if (rootName(path) !== null && isSource(path, where)) found = path;
    }
    return found === null;
  });
  return found;
}
