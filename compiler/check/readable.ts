/**
 * What can be checked beside a syntax error. A name of which nothing is known makes no message where it is used (`lookupName` gives an
 * error value for it); declarations that take whole models, and so all that these are made of, are left alone when any of that is not
 * known or is wrong itself. A file that imports from one with errors is told so once, at the import.
 */
import type { Item } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import type { Scope } from "../language/resolve/scope.ts";

/** Whether a declaration can be checked; of `wrong` ones it has been told. */
export function isReadable(scope: Scope, item: Item, wrong: ReadonlySet<Item>): boolean {
  switch (item.kind) {
    case "dim":
    case "fn":
    case "layer":
      return scope.isWhole(item);
    case "config":
    case "map":
    case "mixture":
    case "upcycle":
    case "test":
      return !needsUnread(scope, item, wrong, new Set());
    default:
      return item satisfies never;
  }
}

/** Whether an item, or what it names, cannot be read. */
function needsUnread(scope: Scope, item: Item, wrong: ReadonlySet<Item>, seen: Set<Item>): boolean {
  if (seen.has(item)) return false;
  seen.add(item);
  const isBroken = (other: Item): boolean => !scope.isWhole(other) || wrong.has(other);
  if (isBroken(item)) return true;
  // An upcycling goes by all mixtures of its file, whatever they are called.
  if (item.kind === "upcycle" && scope.module.items.some((i) => i.kind === "mixture" && isBroken(i))) return true;
  for (const name of namesIn(item)) {
    if (scope.isUnread(name)) return true;
    const binding = scope.lookup(name);
    if (binding !== null && needsUnread(binding.scope, binding.item, wrong, seen)) return true;
  }
  return false;
}

function namesIn(item: Item): ReadonlySet<string> {
  const found = new Set<string>();
  const heads = "model" in item ? [item.model] : [];
  if (item.kind === "mixture") heads.push(item.of);
  if (item.kind === "upcycle") heads.push(item.target, ...item.params.flatMap((p) => p.source?.model ?? []));
  if (item.kind === "map") heads.push(...item.config.flatMap((rule) => rule.map ?? []));
  for (const { text } of heads) found.add(text);
  walk(item, (node) => {
    if (node.kind === "name") found.add(node.name.text);
    if (node.kind === "named-type") found.add(node.name.text);
  });
  return found;
}

/** Each import from a file with errors, or from one that imports such a file. */
export function checkImports(bag: DiagnosticBag, scope: Scope): void {
  for (const { from, fromSpan } of scope.module.imports) {
    const error = errorsBehind(scope.imports.get(from), scope)[0];
    if (error === undefined) continue;
    const at = error.labels[0]?.span;
    bag.error(
      "name/broken-import",
      `\`${from}\` has an error, so not all that is imported from it is known`,
      [{ span: fromSpan, text: "imported here" }, ...(at === undefined ? [] : [{ span: at, text: error.message }])],
      `put ${at?.file.path ?? "that file"} right first: \`moec check\` says all that is wrong in it`,
    );
  }
}

/** Errors in the text and the imports of a file and of those behind it, the nearest first. */
function errorsBehind(target: Scope | undefined, but: Scope): Scope["diagnostics"] {
  const seen = new Set<Scope>(target === undefined ? [] : [target]);
  for (const scope of seen) for (const next of scope.imports.values()) seen.add(next);
  seen.delete(but);
  return [...seen].flatMap((scope) => scope.diagnostics.filter((d) => d.severity === "error"));
}
