/** Row kernels and map kernels: which stages share a row, and which kernel leaves a light node in memory. */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { ops } from "../../ops/table.ts";
import { elementCount } from "../../ops/typing.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Kernel, MapKernel, RowKernel, Store } from "./kernel.ts";
import { isInBuffer } from "./kernel.ts";
import type { Scheduling } from "./scheduling.ts";
import { countTogether } from "./storage.ts";

/** Adds a reduction, selection or small contraction to the row kernel whose values it reads, or gives it one. */
export function addRowStage(s: Scheduling, node: Node): void {
  const rows = rowsOf(node);
  const alone: RowKernel = { kind: "row", computes: [], stores: [], rows };
  for (const kernel of s.cuts.apart.has(node) ? [] : sources(s, node)) {
    if (kernel.kind !== "row") continue;
    const shared = kernel.rows.filter((r) => rows.includes(r));
    const fits = [...kernel.computes, node].every((n) => insideCount(n, shared) <= tuning.schedule.list);
    if (shared.length === 0 || !fits || (shared.length < kernel.rows.length && shared.join() !== rows.join())) continue;
    if (!holdsBetween(s, kernel, shared, node)) continue;
    const before = kernel.rows;
    kernel.rows = shared;
    if (s.clusters.join(kernel, [node])) return;
    kernel.rows = before;
  }
  s.clusters.add({ ...alone, computes: [node] });
}

/**
 * Whether what has to be in memory between a kernel's results and a node can lie in that kernel too: in one of its own it would wait for the
 * kernel, which would wait for it.
 */
function holdsBetween(s: Scheduling, kernel: RowKernel, rows: readonly string[], node: Node): boolean {
  const seen = new Set<Node>();
  const stack = [...node.inputs];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (seen.has(next) || s.clusters.ownerOf(next) !== null) continue;
    seen.add(next);
    stack.push(...next.inputs);
    if (!s.uses.required.has(next) || canHold(rows, next)) continue;
    if ([...s.clusters.readsFor(next)].some((n) => s.clusters.ownerOf(n) === kernel)) return false;
  }
  return true;
}

/** A row is walked by one workgroup: what lies inside it has to be of a known size. */
function canHold(rows: readonly string[], node: Node): boolean {
  return (
    rows.every((r) => node.type.axes.some((a) => a.name === r)) && insideCount(node, rows) < Number.POSITIVE_INFINITY
  );
}

/**
 * The kernel that stores a light node: a row kernel whose values it is made of, else, or if `apart`, a map kernel of its own. The node then
 * belongs to that kernel, unless it only goes into a state.
 */
export function placeLight(s: Scheduling, store: Store, apart = false): Kernel {
  const { node } = store;
  const owned = isInBuffer(store) || (store.kept !== null && s.uses.isFree(node) && !isOp(node, "input")) ? [node] : [];
  for (const kernel of apart || s.cuts.apart.has(node) ? [] : sources(s, node)) {
    if (kernel.kind !== "row" || !canHold(kernel.rows, node)) continue;
    if (owned.length === 0 && !s.clusters.canStore(kernel, node)) continue;
    if (!s.clusters.join(kernel, owned)) continue;
    s.clusters.store(kernel, store);
    return kernel;
  }
  return s.clusters.add<MapKernel>({ kind: "map", computes: owned, stores: [store] });
}

/** Kernels that a node reads from, the latest first. */
function sources(s: Scheduling, node: Node): readonly Kernel[] {
  const reads = s.clusters.readsFor(node);
  const own = s.clusters.ownerOf(node);
  const kernels = new Set([...reads].flatMap((n) => s.clusters.ownerOf(n) ?? []));
  if (own !== null) kernels.add(own);
  return s.clusters.kernels.filter((k) => kernels.has(k)).reverse();
}

/** Map kernels over the same number of elements that do not wait for each other become one. */
export function mergeMaps(s: Scheduling): void {
  const maps = s.clusters.kernels.filter((k) => k.kind === "map");
  const key = (k: MapKernel): string => {
    const [first] = k.stores;
    const inner = first?.node.type.axes.at(-1)?.size.value ?? 1;
    return first === undefined ? "" : `${elementCount(first.node.type).key} ${inner % 4 === 0}`;
  };
  for (const [i, kernel] of maps.entries()) {
    if (kernel.stores.some((x) => s.cuts.apart.has(x.node))) continue;
    const other = maps
      .slice(0, i)
      .find(
        (k) =>
          s.clusters.kernels.includes(k) &&
          key(k) === key(kernel) &&
          k.stores.length + kernel.stores.length <= 3 &&
          countTogether(s, k, kernel) <= s.device.maxStorageBuffers,
      );
    if (other !== undefined) s.clusters.merge(other, kernel);
  }
}

/** The axes that one result of a stage does not run over. */
function rowsOf(node: Node): readonly string[] {
  const labels = node.type.axes.map((a) => a.name);
  switch (ops[node.op].lowering.kind) {
    case "contraction":
      return labels.filter((name) =>
        node.inputs[0]!.type.axes.some((a) => a.name === name) !==
        node.inputs[1]!.type.axes.some((a) => a.name === name)
          ? isRowSide(node as Node<"dot">, name)
          : true,
      );
    case "choice":
      return labels.filter((name) => name !== (node as Node<"topk">).attrs.k.name);
    case "running":
      return labels.filter((name) => name !== (node as Node<"cumsum">).attrs.axis);
    default:
      return labels;
  }
}

/** A contraction's rows are the axes that the side without a run-time size lacks. */
function isRowSide(node: Node<"dot">, name: string): boolean {
  const side = node.inputs.find((x) => x.type.axes.some((a) => a.size.value === null)) ?? node.inputs[0]!;
  return side.type.axes.some((a) => a.name === name);
}

function insideCount(node: Node, rows: readonly string[]): number {
  return node.type.axes
    .filter((a) => !rows.includes(a.name))
    .reduce((n, a) => n * (a.size.value ?? Number.POSITIVE_INFINITY), 1);
}
