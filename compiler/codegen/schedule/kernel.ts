/**
 * What scheduling makes of a function: a list of kernels, each a connected piece of the graph with a way to run it. A kernel
 * owns the heavy nodes it computes (`computes`) and leaves some nodes in memory (`stores`); everything light between what it
 * loads and what it stores is computed on the fly.
 */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { findAxis } from "../../graph/type.ts";
import type { NamedState } from "../../ops/states.ts";
import type { Matrix } from "../../graph/matrix.ts";
import type { Outer } from "../../graph/outer.ts";
import type { Layout } from "../../plan/plan.ts";

export type Regime = "prefill" | "decode";

/** A node that a kernel leaves in memory: in its own buffer, its rows in a state, or in a buffer that is kept across steps. */
export interface Store {
  readonly node: Node;
  readonly state: NamedState | null;
  readonly kept: KeptPlace | null;
}

/** Where a node goes in a kept buffer: element by element as `layout` has it, over `axes`, which are the node's by name. */
export interface KeptPlace {
  /** With `#` for the layer. */
  readonly id: string;
  readonly axes: readonly Axis[];
  readonly layout: Layout;
  /** Added to what is there, or written over it. */
  readonly adds: boolean;
}

/** Left in the node's own buffer. */
export function inBuffer(node: Node): Store {
  return { node, state: null, kept: null };
}

export function inState(node: Node, state: NamedState): Store {
  return { node, state, kept: null };
}

export function inKept(node: Node, kept: KeptPlace): Store {
  return { node, state: null, kept };
}

/** Whether a store leaves the node where others may read it. */
export function isInBuffer({ state, kept }: Store): boolean {
  return state === null && kept === null;
}

export type Kernel =
  | MapKernel
  | RowKernel
  | ContractionKernel
  | OuterKernel
  | SpreadKernel
  | AttendKernel
  | AttendGradKernel
  | RecurrenceKernel
  | GroupKernel
  | CallKernel;

interface Common {
  /** Heavy nodes, and light ones that end it, in topological order. */
  readonly computes: Node[];
  readonly stores: Store[];
}

/** One invocation per element, or per four. */
export interface MapKernel extends Common {
  readonly kind: "map";
}

/** One workgroup per index over `rows`; what lies inside a row passes through workgroup memory. */
export interface RowKernel extends Common {
  readonly kind: "row";
  /** Labels of the row axes. */
  rows: readonly string[];
}

/** Matrices that share columns and an epilogue. */
export interface ContractionGroup {
  readonly matrices: Matrix[];
  /** What is stored at each column: the contraction itself or the end of its epilogue. */
  root: Node;
}

export interface ContractionKernel extends Common {
  readonly kind: "contraction";
  /** The activation side as the contraction sees it; all groups share it. */
  readonly a: Node;
  readonly groups: ContractionGroup[];
  /** Sum over a token's choices inside the kernel: the sum, and what scales each choice (null: 1). */
  readonly combine: { readonly sum: Node<"sum">; readonly scales: readonly Node[] } | null;
}

/** A product of two activations over tokens. */
export interface OuterKernel extends Common {
  readonly kind: "outer";
  readonly outer: Outer;
  /** What is stored: the product itself or the end of its epilogue. */
  root: Node;
}

/** The index by whose banks a kernel walks over choices, which are sorted for it. */
export function groupingOf(kernel: Kernel): { readonly index: Node; readonly banks: number } | null {
  if (kernel.kind === "outer") {
    const { groups } = kernel.outer;
    return groups === null ? null : { index: groups.index, banks: groups.bank.size.value! };
  }
  const matrix = kernel.kind === "contraction" ? kernel.groups[0]?.matrices[0] : undefined;
  if (matrix === undefined || matrix.index === null) return null;
  return { index: matrix.index, banks: findAxis(matrix.param.type, matrix.bank[0]!)!.size.value! };
}

/** Adds rows up where an index says. */
export interface SpreadKernel extends Common {
  readonly kind: "spread";
  readonly spread: Node<"spread">;
}

/** Attention's result, the logarithm of its softmax's sum, or both: `attend` is the first of them. */
export interface AttendKernel extends Common {
  readonly kind: "attend";
  readonly attend: Node<"attend">;
}

/** The gradient of attention by its queries; or by its keys, its values, or both at once, which are made of the same probabilities. */
export interface AttendGradKernel extends Common {
  readonly kind: "attend-grad";
  /** The first that it computes. */
  readonly gradient: Node<"attend_grad">;
}

/** Walks over the tokens of each sequence of the step. */
export interface RecurrenceKernel extends Common {
  readonly kind: "recurrence";
  readonly node: Node<"scan"> | Node<"delta_rule">;
}

/** Sorts choices by bank for the routed contractions of one index. */
export interface GroupKernel extends Common {
  readonly kind: "group";
  readonly index: Node;
  readonly banks: number;
}

export interface CallKernel extends Common {
  readonly kind: "call";
  readonly fn: string;
  readonly path: string;
  readonly args: readonly Node[];
}

/**
 * Axes along which a kernel stands at one place while it works out a result, so that what it holds is of that place alone. A map kernel holds
 * nothing: it computes at any place what it reads.
 */
export function placeLabels(kernel: Kernel): ReadonlySet<string> {
  const labels = (nodes: readonly Node[]): ReadonlySet<string> =>
    new Set(nodes.flatMap((n) => n.type.axes.map((a) => a.name)));
  switch (kernel.kind) {
    case "row":
      return new Set(kernel.rows);
    case "contraction":
      return labels(kernel.groups.map((g) => g.root));
    case "outer":
      return labels([kernel.root]);
    case "spread":
      return labels([kernel.spread]);
    case "attend":
      return labels([kernel.attend]);
    case "attend-grad":
      return labels([kernel.gradient]);
    case "recurrence":
      return labels([kernel.node]);
    case "map":
    case "group":
    case "call":
      return new Set();
    default:
      return kernel satisfies never;
  }
}
