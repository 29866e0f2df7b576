/**
 * How each node may be run, from its lowering kind and shape: light nodes are computed where they are used, heavy ones have
 * a kernel.
 */
import type { Node } from "../../graph/node.ts";
import { TIME, findAxis } from "../../graph/type.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Regime } from "./kernel.ts";
import type { Layouts } from "./layout.ts";
import { fitsLayout } from "./layout.ts";
import type { Matrix } from "../../graph/matrix.ts";
import { matchMatrix } from "../../graph/matrix.ts";
import type { Outer } from "../../graph/outer.ts";
import { matchOuter } from "../../graph/outer.ts";

export type Role =
  | { readonly kind: "light" }
  /** A reduction or contraction that a map kernel runs as a loop per element. */
  | { readonly kind: "loop" }
  /** A stage of a row kernel. */
  | { readonly kind: "row" }
  | { readonly kind: "matrix"; readonly matrix: Matrix }
  | { readonly kind: "outer"; readonly outer: Outer }
  | { readonly kind: "spread" }
  | { readonly kind: "attend" }
  | { readonly kind: "attend-grad" }
  | { readonly kind: "recurrence" }
  | { readonly kind: "call" };

/** As `ScheduleOptions` has them. */
interface RoleOptions {
  readonly regime: Regime;
  readonly layouts: Layouts;
  readonly partsOf: (path: string) => number;
}

export function classify(
  nodes: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  options: RoleOptions,
): Map<Node, Role> {
  const roles = new Map<Node, Role>();
  // Users first: whether a contraction feeds row ops decides where it runs.
  for (const node of [...nodes].reverse()) roles.set(node, roleOf(node, roles, users, options));
  return roles;
}

function roleOf(
  node: Node,
  roles: ReadonlyMap<Node, Role>,
  users: ReadonlyMap<Node, readonly Node[]>,
  { regime, layouts, partsOf }: RoleOptions,
): Role {
  const lowering = ops[node.op].lowering as Lowering<typeof node.op>;
  switch (lowering.kind) {
    case "source":
    case "map":
    case "view":
    case "concat":
    case "gather":
    case "delay":
      return { kind: "light" };
    case "scan":
    case "memory":
      return { kind: "recurrence" };
    case "reduce":
      return isColumnReduce(node as Node<"sum">) ? { kind: "loop" } : { kind: "row" };
    case "choice":
    case "running":
      return { kind: "row" };
    case "attend":
      return { kind: "attend" };
    case "attend-grad":
      return { kind: "attend-grad" };
    case "call":
      return { kind: "call" };
    case "spread": {
      const outer = matchOuter(node);
      const isAlone = outer !== null && chainOf(node, outer).every((x) => users.get(x)?.length === 1);
      if (isAlone && outer.groups!.bank.size.value! <= tuning.schedule.banks) return { kind: "outer", outer };
      return isSpreadKernel(node as Node<"spread">) ? { kind: "spread" } : { kind: "loop" };
    }
    case "contraction": {
      const matrix = matchMatrix(node);
      const outer = matchOuter(node);
      if (outer !== null && perRow(node) >= tuning.schedule.overTokens) return { kind: "outer", outer };
      if (matrix === null) return { kind: "loop" };
      if (matrix.n.length > 0 && isSmall(matrix, regime) && feedsRows(node, roles, users)) return { kind: "row" };
      if (matrix.n.length === 0 && matrix.index === null) return { kind: "row" };
      return matrix.n.length > 0 && fitsLayout(matrix, layouts, partsOf)
        ? { kind: "matrix", matrix }
        : { kind: "loop" };
    }
  }
}

/** One index says where rows go, and how long they are and how many there may be is known. */
function isSpreadKernel({ inputs, attrs, type }: Node<"spread">): boolean {
  return (
    attrs.over.length === inputs[1]!.type.axes.length &&
    type.axes.length > 1 &&
    type.axes[0]!.name === attrs.axis.name &&
    type.axes.every((a) => a.size.value !== null)
  );
}

/** From a sum's product up to what it sums. */
function chainOf(sum: Node, { product }: Outer): readonly Node[] {
  const chain: Node[] = [];
  for (let x = sum.inputs[0]!; ; x = x.inputs[0]!) {
    chain.push(x);
    if (x === product) return chain;
  }
}

/** Reduces an outer axis of something wide: each element of the result is a short strided loop. */
function isColumnReduce(node: Node<"sum">): boolean {
  const [x] = node.inputs as [Node];
  const inner = x.type.axes.at(-1);
  if (inner === undefined || node.attrs.axes.includes(inner.name)) return false;
  return perRow(node) >= tuning.schedule.columnsPerTerm * perFold(node);
}

function perFold(node: Node<"sum">): number {
  const [x] = node.inputs as [Node];
  return node.attrs.axes.reduce((n, name) => n * (findAxis(x.type, name)?.size.value ?? Number.POSITIVE_INFINITY), 1);
}

/** Elements of one token. */
export function perRow(node: Node): number {
  return node.type.axes.reduce((n, a) => n * (a.size.value ?? 1), 1);
}

function isSmall(matrix: Matrix, regime: Regime): boolean {
  const columns = matrix.dot.type.axes
    .filter((a) => matrix.nLabels.includes(a.name))
    .reduce((n, a) => n * (a.size.value ?? 1), 1);
  const length = matrix.kLabels.reduce((n, name) => n * (findAxis(matrix.a.type, name)?.size.value ?? 1), 1);
  return (
    matrix.index === null &&
    matrix.nLabels.length === 1 &&
    columns <= tuning.schedule.smallColumns &&
    2 * columns <= length &&
    columns * length <= tuning.schedule.smallWeights[regime] &&
    matrix.rowLabels.join() === TIME
  );
}

/** A top-k, or a fold over one of its columns, needs it; through light nodes. */
function feedsRows(node: Node, roles: ReadonlyMap<Node, Role>, users: ReadonlyMap<Node, readonly Node[]>): boolean {
  const seen = new Set<Node>();
  const stack = [...(users.get(node) ?? [])];
  for (let user = stack.pop(); user !== undefined; user = stack.pop()) {
    if (seen.has(user)) continue;
    seen.add(user);
    const role = roles.get(user)?.kind;
    if (role === "row" && ops[user.op].lowering.kind !== "contraction") return true;
    if (role === "light") stack.push(...(users.get(user) ?? []));
  }
  return false;
}
