/**
 * Walking the tree by reflection: a child is any object with a `kind` that can be reached without passing through
 * another one. New node kinds need no entry here; records without a kind (names, ports, arguments) are passed through.
 */
import type {
  AxisExpr,
  Expr,
  Import,
  Item,
  MapRule,
  Module,
  Statement,
  TestStatement,
  Type,
  UpcycleRule,
} from "./ast.ts";

/** Everything in the tree that has a `kind`. */
export type Node = Module | Import | Item | Type | AxisExpr | Statement | Expr | MapRule | UpcycleRule | TestStatement;

/** The nearest nodes below `node`, in the order of their fields. */
export function children(node: Node): Node[] {
  const found: Node[] = [];
  for (const [field, value] of Object.entries(node)) if (field !== "span") collect(value, found);
  return found;
}

/** Visits `node` and everything below it, parents first; `false` from `enter` leaves out what is below. */
export function walk(node: Node, enter: (node: Node, parent: Node | null) => boolean | void): void {
  const visit = (at: Node, parent: Node | null): void => {
    if (enter(at, parent) !== false) for (const child of children(at)) visit(child, at);
  };
  visit(node, null);
}

function collect(value: unknown, into: Node[]): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const element of value) collect(element, into);
  } else if ("kind" in value) {
    into.push(value as Node);
  } else {
    for (const [field, inner] of Object.entries(value)) if (!/^(span|fromSpan)$/.test(field)) collect(inner, into);
  }
}
