/**
 * Sees a contraction over tokens as a product of two activations: what is summed over are rows of both, one side's other axes are rows of the
 * result, the other's its columns. The gradient of a weight is one.
 */
import type { Node } from "./node.ts";
import { isOp } from "./node.ts";
import { matchMatrix } from "./matrix.ts";
import { hasAxis } from "./type.ts";

export interface Outer {
  readonly dot: Node;
  readonly left: Node;
  readonly right: Node;
  /** Labels of what is summed over, in the left side's order. */
  readonly tokens: readonly string[];
  /** Labels of the result: the left side's others, and the right side's. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
}

/** Null where one side is a parameter, sizes of the result depend on the step, or both sides share an axis of it. */
export function matchOuter(dot: Node): Outer | null {
  if (!isOp(dot, "dot") || matchMatrix(dot) !== null) return null;
  const [left, right] = dot.inputs as readonly [Node, Node];
  const { axes } = dot.attrs;
  const tokens = left.type.axes.filter((a) => axes.includes(a.name));
  const [rows, columns] = [left, right].map((x) => x.type.axes.filter((a) => !axes.includes(a.name)));
  if (!tokens.some((a) => a.size.value === null)) return null;
  if ([...rows!, ...columns!].some((a) => a.size.value === null) || rows!.some((a) => hasAxis(right.type, a.name)))
    return null;
  const labels = (list: readonly { readonly name: string }[]): readonly string[] => list.map((a) => a.name);
  return { dot, left, right, tokens: labels(tokens), rows: labels(rows!), columns: labels(columns!) };
}
