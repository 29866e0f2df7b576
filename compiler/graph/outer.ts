/**
 * Sees a product of two activations over tokens, as the gradient of a weight is: what is summed over are rows of both, one side's other axes
 * are rows of the result, the other's its columns. A contraction is one; so is a `spread` of products that are not summed yet, where each row
 * goes to the bank that an index chose.
 */
import type { Node } from "./node.ts";
import { isOp } from "./node.ts";
import { matchMatrix, viewWeight } from "./matrix.ts";
import type { Axis } from "./type.ts";
import { findAxis, hasAxis } from "./type.ts";

export interface Outer {
  /** The sum, and the product that is summed, which may be the same node. */
  readonly sum: Node;
  readonly product: Node;
  readonly left: OuterOperand;
  readonly right: OuterOperand;
  /** What is summed over, under the labels of the product: in the left side's order, or in the index's. */
  readonly tokens: readonly Axis[];
  readonly groups: { readonly index: Node; readonly bank: Axis } | null;
}

export interface OuterOperand {
  readonly node: Node;
  /** Axes of the result, under the labels of the product. */
  readonly axes: readonly Axis[];
  /** Their labels in the sum. */
  readonly labels: readonly string[];
}

/** Null where one side is a parameter, sizes of the result depend on the step, or both sides share an axis of it. */
export function matchOuter(sum: Node): Outer | null {
  if (isOp(sum, "dot")) return matchMatrix(sum) === null ? outerOf(sum, sum, new Map(), null) : null;
  if (!isOp(sum, "spread")) return null;
  const [x, index] = sum.inputs as readonly [Node, Node];
  if (sum.attrs.over.length !== index.type.axes.length) return null;
  // Views between the product and the sum give axes other labels.
  const labels = new Map<string, string>();
  let product = x;
  for (; isOp(product, "rename") || isOp(product, "transpose"); product = product.inputs[0]!) {
    if (!isOp(product, "rename")) continue;
    const { from, to } = product.attrs;
    labels.set(from, labels.get(to) ?? to);
    if (from !== to) labels.delete(to);
  }
  if (!isOp(product, "mul") || product.inputs.some((i) => viewWeight(i) !== null)) return null;
  return outerOf(sum, product, labels, index);
}

function outerOf(sum: Node, product: Node, labels: ReadonlyMap<string, string>, index: Node | null): Outer | null {
  const [left, right] = product.inputs as readonly [Node, Node];
  const labelIn = (label: string): string => labels.get(label) ?? label;
  const under = (axis: Axis): Axis => ({
    ...axis,
    name: product.type.axes.find((a) => labelIn(a.name) === axis.name)!.name,
  });
  const tokens = index === null ? left.type.axes.filter((a) => !hasAxis(sum.type, a.name)) : index.type.axes.map(under);
  if (!tokens.some((a) => a.size.value === null)) return null;
  const sideOf = (node: Node): OuterOperand => {
    const axes = node.type.axes.filter((a) => !tokens.some((t) => t.name === a.name));
    return { node, axes, labels: axes.map((a) => labelIn(a.name)) };
  };
  const [rows, columns] = [sideOf(left), sideOf(right)];
  const sized = [...rows.axes, ...columns.axes].every((a) => a.size.value !== null);
  if (!sized || rows.axes.length === 0 || columns.axes.length === 0) return null;
  if (rows.axes.some((a) => hasAxis(right.type, a.name))) return null;
  if (index === null || !isOp(sum, "spread")) return { sum, product, left: rows, right: columns, tokens, groups: null };
  const bank = findAxis(sum.type, sum.attrs.axis.name)!;
  return bank.size.value === null
    ? null
    : { sum, product, left: rows, right: columns, tokens, groups: { index, bank } };
}
