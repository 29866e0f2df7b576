/**
 * Sees a contraction as rows of an activation times a weight matrix, perhaps chosen per row from a bank. Only names matter:
 * contracted axes of the parameter are `k`, the axis that an index picks from is the bank, the others are columns.
 */
import type { Node } from "./node.ts";
import { isOp } from "./node.ts";
import { hasAxis } from "./type.ts";

export interface Matrix {
  readonly dot: Node;
  /** Activation side, with the labels of the contraction. */
  readonly a: Node;
  readonly param: Node<"param">;
  /** The parameter's own labels, in its order. */
  readonly bank: readonly string[];
  readonly k: readonly string[];
  readonly n: readonly string[];
  /** The same lists in the labels of the contraction. */
  readonly kLabels: readonly string[];
  readonly nLabels: readonly string[];
  /** Labels of the rows, in the order of the index for routed ones. */
  readonly rowLabels: readonly string[];
  /** u32 index [rows] into the bank. */
  readonly index: Node | null;
}

/** A parameter as a contraction sees it: its label for each of the parameter's axes, and the index along one of them. */
export interface WeightView {
  readonly param: Node<"param">;
  readonly labels: ReadonlyMap<string, string>;
  readonly picked: { readonly axis: string; readonly index: Node } | null;
}

/** The matrix of a contraction, or null when neither side is a plain (picked) parameter. */
export function matchMatrix(dot: Node): Matrix | null {
  if (!isOp(dot, "dot")) return null;
  const [x, y] = dot.inputs;
  if (x === undefined || y === undefined) return null;
  return asMatrix(dot, x, y) ?? asMatrix(dot, y, x);
}

export function viewWeight(node: Node): WeightView | null {
  if (isOp(node, "param")) {
    // A table over positions has a size that only a step knows.
    if (node.type.axes.some((a) => a.size.value === null)) return null;
    return { param: node, labels: new Map(node.type.axes.map((a) => [a.name, a.name])), picked: null };
  }
  const [x, index] = node.inputs;
  const view = x === undefined ? null : viewWeight(x);
  if (view === null) return null;
  if (isOp(node, "transpose")) return view;
  if (isOp(node, "rename")) {
    const { from, to } = node.attrs;
    // A rename of an axis that the index brought in is not the parameter's; leave such graphs to the general kernel.
    if (![...view.labels.values()].includes(from)) return null;
    return { ...view, labels: new Map([...view.labels].map(([own, label]) => [own, label === from ? to : label])) };
  }
  if (isOp(node, "take") && view.picked === null && index !== undefined) {
    const own = [...view.labels].find(([, label]) => label === node.attrs.axis)?.[0];
    if (own === undefined || index.type.axes.some((a) => hasAxis(x!.type, a.name))) return null;
    const labels = new Map([...view.labels].filter(([other]) => other !== own));
    return { param: view.param, labels, picked: { axis: own, index } };
  }
  return null;
}

function asMatrix(dot: Node<"dot">, a: Node, weight: Node): Matrix | null {
  const view = viewWeight(weight);
  if (view === null) return null;
  const { axes } = dot.attrs;
  const { picked, param } = view;
  const own = param.type.axes.map((axis) => axis.name).filter((name) => name !== picked?.axis);
  const label = (name: string): string => view.labels.get(name) ?? name;
  const k = own.filter((name) => axes.includes(label(name)));
  const n = own.filter((name) => !axes.includes(label(name)));
  if (k.length !== axes.length || n.some((name) => hasAxis(a.type, label(name)))) return null;
  const aRows = a.type.axes.map((axis) => axis.name).filter((name) => !axes.includes(name));
  const indexLabels = picked?.index.type.axes.map((axis) => axis.name) ?? null;
  // Routed: every row of the result is a choice of the index, whose last axis are the choices of a token; A has a row per token or per choice.
  if (indexLabels !== null) {
    const ofTokens = indexLabels.slice(0, -1);
    const rows = aRows.length === indexLabels.length ? indexLabels : ofTokens;
    if (ofTokens.length === 0 || aRows.length !== rows.length || !aRows.every((name) => rows.includes(name)))
      return null;
  }
  return {
    dot,
    a,
    param,
    bank: picked === null ? [] : [picked.axis],
    k,
    n,
    kLabels: k.map(label),
    nLabels: n.map(label),
    rowLabels: indexLabels ?? aRows,
    index: picked?.index ?? null,
  };
}
