/**
 * From a function's graph to an ordered list of kernels, by lowering kind alone. In order: heavy nodes get kernels, with
 * epilogues and contractions of one activation merged; what must be in memory gets a place in a kernel; kernels over
 * the same elements are merged; every node that another kernel reads is stored.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { topologicalOrder, usersOf } from "../../graph/traverse.ts";
import { TIME } from "../../graph/type.ts";
import { stateOf } from "../../ops/states.ts";
import { ops } from "../../ops/table.ts";
import { addAttention, addAttentionGradient, appendToCaches } from "./attention.ts";
import { baseOf } from "./bytes.ts";
import type { Role } from "./classify.ts";
import { classify } from "./classify.ts";
import { Clusters } from "./clusters.ts";
import { addContraction } from "./contractions.ts";
import { chooseCut } from "./cut.ts";
import { joinEpilogue } from "./grow.ts";
import type { Kernel, KeptPlace, MapKernel, OuterKernel, RecurrenceKernel, SpreadKernel } from "./kernel.ts";
import { groupingOf, inBuffer, inKept, inState, isInBuffer } from "./kernel.ts";
import { addRowStage, mergeMaps, placeLight } from "./places.ts";
import { recomputedNodes } from "./recomputed.ts";
import type { Schedule, ScheduleOptions, Scheduling, Uses } from "./scheduling.ts";
import type { Sink } from "./sink.ts";
import { countStorage } from "./storage.ts";

export function schedule(outputs: readonly Node[], sinks: readonly Sink[], options: ScheduleOptions): Schedule {
  const ends = [...outputs, ...sinks.map((s) => s.node)];
  const nodes = topologicalOrder(ends);
  const users = usersOf(nodes);
  const order = new Map(nodes.map((n, i) => [n, i]));
  const roles = classify(nodes, users, options);
  const clusters = new Clusters();
  const cut = new Set([...options.cuts.memory].map(viewed));
  const wanted = new Set([...requiredNodes(nodes, ends, roles), ...cut]);
  const recomputed = recomputedNodes(nodes, users, roles, wanted);
  const required = new Set([...wanted, ...recomputed]);
  const uses: Uses = {
    users,
    required,
    isFree: (n) => clusters.ownerOf(n) === null,
    orderOf: (n) => order.get(n) ?? 0,
  };
  const s: Scheduling = { ...options, clusters, roles, uses };

  const place = (node: Node): void => {
    if (clusters.ownerOf(node) === null && !isOp(node, "input")) placeLight(s, inBuffer(node));
  };
  for (const node of nodes) {
    if (clusters.ownerOf(node) === null) addHeavy(s, node);
    // Before what follows it: that may then not join a kernel that the node waits for.
    if (cut.has(node) || options.cuts.apart.has(node)) place(node);
  }
  for (const node of nodes) if (required.has(node)) place(node);
  appendToCaches(s);
  for (const { node, kept } of sinks) addSink(s, node, kept);
  if (options.regime === "prefill") addGroups(s);
  mergeMaps(s);
  keepLastRows(s);
  storeWhatIsRead(clusters, outputs);
  return {
    kernels: clusters.inOrder(),
    ownerOf: (n) => clusters.ownerOf(n),
    reads: (k) => clusters.reads(k),
    walks: clusters.walks,
    storage: (k) => countStorage(s, k),
    cut: (k, limit) => chooseCut(s, k, limit),
  };
}

function addHeavy(s: Scheduling, node: Node): void {
  const role = s.roles.get(node)!;
  switch (role.kind) {
    case "light":
      return;
    case "matrix":
      return addContraction(s, node, role.matrix);
    case "row":
      return addRowStage(s, node);
    case "loop": {
      const kernel = s.clusters.add<MapKernel>({ kind: "map", computes: [node], stores: [] });
      return storeEnd(s, kernel, node);
    }
    case "outer": {
      const { outer } = role;
      const computes = outer.product === node ? [node] : [outer.product, node];
      const kernel = s.clusters.add<OuterKernel>({ kind: "outer", computes, stores: [], outer, root: node });
      kernel.root = joinEpilogue(s, kernel, [node]) ?? node;
      return s.clusters.store(kernel, inBuffer(kernel.root));
    }
    case "spread": {
      const own = node as Node<"spread">;
      const kernel = s.clusters.add<SpreadKernel>({ kind: "spread", computes: [node], stores: [], spread: own });
      return s.clusters.store(kernel, inBuffer(node));
    }
    case "attend":
      return storeEnd(s, addAttention(s, node as Node<"attend">), node);
    case "attend-grad":
      return s.clusters.store(addAttentionGradient(s, node as Node<"attend_grad">), inBuffer(node));
    case "recurrence": {
      const own = node as Node<"scan"> | Node<"delta_rule">;
      const kernel = s.clusters.add<RecurrenceKernel>({ kind: "recurrence", computes: [node], stores: [], node: own });
      return storeEnd(s, kernel, node);
    }
    case "call": {
      const { fn, path } = (node as Node<"call">).attrs;
      const known = s.clusters.kernels.find(
        (k) => k.kind === "call" && k.fn === fn && k.path === path && k.args.every((a, i) => a === node.inputs[i]),
      );
      if (known !== undefined) s.clusters.join(known, [node]);
      else s.clusters.add({ kind: "call", computes: [node], stores: [], fn, path, args: node.inputs });
      return;
    }
    default:
      role satisfies never;
  }
}

/** Carries the result of a heavy node as far as possible, and stores it there. */
function storeEnd(s: Scheduling, kernel: Kernel, heavy: Node): void {
  s.clusters.store(kernel, inBuffer(joinEpilogue(s, kernel, [heavy]) ?? heavy));
}

/**
 * Outputs, arguments of calls, indices of routed contractions, activations that are more than a view of memory, and what
 * a row decides for all its elements (a norm's factor, a routing weight), so that readers load one number.
 */
function requiredNodes(
  nodes: readonly Node[],
  outputs: readonly Node[],
  roles: ReadonlyMap<Node, Role>,
): ReadonlySet<Node> {
  const required = new Set(outputs.map(baseOf));
  const fromRow = new Set<Node>();
  for (const node of nodes) {
    const role = roles.get(node);
    if (isOp(node, "call")) for (const x of node.inputs) required.add(baseOf(x));
    // Every token is compared with all others.
    if (isOp(node, "rename") && node.attrs.from === TIME) required.add(viewed(node));
    // Rows of other tokens, what every column of a memory reads again, and what every pair of tokens does.
    if (["delay", "memory", "attend-grad"].includes(ops[node.op].lowering.kind))
      for (const x of node.inputs) required.add(viewed(x));
    if (role?.kind === "row") fromRow.add(node);
    if (role?.kind === "light") {
      if (node.inputs.some((x) => fromRow.has(x))) fromRow.add(node);
      for (const x of node.inputs) if (fromRow.has(x) && isWider(node, x)) required.add(viewed(x));
    }
    if (role?.kind === "outer") {
      for (const { node: side } of [role.outer.left, role.outer.right]) required.add(viewed(side));
      if (role.outer.groups !== null) required.add(baseOf(role.outer.groups.index));
    }
    if (role?.kind === "spread") required.add(viewed(node.inputs[0]!)).add(baseOf(node.inputs[1]!));
    if (role?.kind !== "matrix") continue;
    required.add(viewed(role.matrix.a));
    if (role.matrix.index !== null) required.add(baseOf(role.matrix.index));
  }
  return required;
}

/** Has axes that the other lacks. */
function isWider(node: Node, than: Node): boolean {
  return node.type.axes.length > than.type.axes.length;
}

/** What a chain of views shows. */
function viewed(node: Node): Node {
  let base = node;
  while (ops[base.op].lowering.kind === "view") base = base.inputs[0]!;
  return base;
}

/** What delays look back at is kept at the end of the step, when nothing reads the rows of the step before any more. */
function keepLastRows(s: Scheduling): void {
  const readers = new Map<string, { readonly delay: Node<"delay">; readonly kernels: Kernel[] }>();
  for (const kernel of s.clusters.kernels) {
    for (const delay of s.clusters.delaysOf(kernel)) {
      const { id } = stateOf(delay, "x");
      const known = readers.get(id) ?? { delay, kernels: [] };
      known.kernels.push(kernel);
      readers.set(id, known);
    }
  }
  for (const { delay, kernels } of readers.values()) {
    const store = inState(delay.inputs[0]!, stateOf(delay, "x"));
    s.clusters.waitFor(s.clusters.add<MapKernel>({ kind: "map", computes: [], stores: [store] }), kernels);
  }
}

/** The kernel that works a node out adds it up as well; what another function left or was given is added by a kernel of its own. */
function addSink(s: Scheduling, node: Node, kept: KeptPlace): void {
  const owner = s.clusters.ownerOf(node);
  if (owner === null || owner.kind === "call" || owner.kind === "group") placeLight(s, inKept(node, kept), true);
  else s.clusters.store(owner, inKept(node, kept));
}

function addGroups(s: Scheduling): void {
  for (const kernel of [...s.clusters.kernels]) {
    const grouping = groupingOf(kernel);
    if (grouping === null) continue;
    const { index, banks } = grouping;
    if (s.clusters.kernels.some((k) => k.kind === "group" && k.index === index && k.banks === banks)) continue;
    s.clusters.add({ kind: "group", computes: [], stores: [], index, banks });
  }
}

function storeWhatIsRead(clusters: Clusters, outputs: readonly Node[]): void {
  const needed = new Set(outputs.map(baseOf));
  for (const kernel of clusters.kernels) for (const node of clusters.reads(kernel)) needed.add(node);
  for (const kernel of clusters.kernels) {
    if (kernel.kind === "call" || kernel.kind === "group") continue;
    const kept = kernel.stores.filter((s) => !isInBuffer(s) || needed.has(s.node));
    const more = kernel.computes.filter((n) => needed.has(n) && !kept.some((s) => s.node === n && isInBuffer(s)));
    clusters.storeOnly(kernel, [...kept, ...more.map(inBuffer)]);
  }
}
