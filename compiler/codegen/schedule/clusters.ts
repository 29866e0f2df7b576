/**
 * Which kernel computes what, while kernels are being formed. A kernel depends on the owners of the nodes it reads; nodes
 * without an owner are computed on the fly by whoever reads them. Joining nodes to a kernel must not close a cycle.
 *
 * What a kernel reads is found by one walk over the graph and kept until an owner on that walk changes, so that the many
 * questions whether one kernel depends on another cost a walk over kernels alone.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { ownLabels } from "../../ops/moves.ts";
import { statesOf } from "../../ops/states.ts";
import type { Kernel, Store } from "./kernel.ts";
import { groupingOf, placeLabels } from "./kernel.ts";

/** A node on the way from what a kernel computes and stores to what lies in memory. */
interface Visit {
  readonly node: Node;
  /** Where the way ends: what another kernel leaves, or this one would have to have left before. */
  readonly inMemory: boolean;
}

interface Walk {
  readonly visits: readonly Visit[];
  readonly reads: ReadonlySet<Node>;
}

export class Clusters {
  readonly kernels: Kernel[] = [];
  /** Walks over the graph that were made: what scheduling costs, counted for tests. */
  walks = 0;
  readonly #owner = new Map<Node, Kernel>();
  /** Kernels that append to the caches of an attention op. */
  readonly #appends = new Map<Node, Kernel[]>();
  /** Kernels that come after others without reading what they leave. */
  readonly #waits = new Map<Kernel, readonly Kernel[]>();
  readonly #known = new Map<Kernel, Walk>();
  /** Kernels whose known walk meets a node. */
  readonly #meets = new Map<Node, Set<Kernel>>();

  ownerOf(node: Node): Kernel | null {
    return this.#owner.get(node) ?? null;
  }

  add<K extends Kernel>(kernel: K): K {
    this.kernels.push(kernel);
    for (const node of kernel.computes) this.#own(node, kernel);
    return kernel;
  }

  /** Adds nodes to a kernel, unless it would then depend on itself. */
  join(kernel: Kernel, nodes: readonly Node[]): boolean {
    if (nodes.length === 0) return true;
    const before = nodes.map((n) => this.#owner.get(n));
    const known = new Map(this.#known);
    for (const node of nodes) this.#own(node, kernel);
    kernel.computes.push(...nodes);
    this.#forget(kernel);
    if (!this.reaches(kernel, kernel)) return true;
    kernel.computes.splice(kernel.computes.length - nodes.length);
    nodes.forEach((node, i) => this.#own(node, before[i]));
    for (const [k, walk] of known) this.#keep(k, walk);
    return false;
  }

  /** Merges the second kernel into the first, unless one depends on the other. The caller moves what is special to its kind. */
  merge(into: Kernel, from: Kernel): boolean {
    if (this.reaches(into, from) || this.reaches(from, into)) return false;
    into.computes.push(...from.computes);
    into.stores.push(...from.stores);
    for (const node of from.computes) this.#owner.set(node, into);
    for (const list of this.#appends.values()) list.forEach((k, i) => k === from && (list[i] = into));
    this.kernels.splice(this.kernels.indexOf(from), 1);
    this.#forget(into);
    this.#forget(from);
    return true;
  }

  /** Leaves one more node in memory. */
  store(kernel: Kernel, store: Store): void {
    kernel.stores.push(store);
    this.#forget(kernel);
  }

  /** Whether a kernel can leave one more node in memory without waiting for one that waits for it. */
  canStore(kernel: Kernel, node: Node): boolean {
    const from = [...this.walkFrom([node], kernel).reads].flatMap((n) => this.#owner.get(n) ?? []);
    return from.every((k) => k !== kernel && !this.reaches(k, kernel));
  }

  /** Leaves these in memory instead of what was to be left. */
  storeOnly(kernel: Kernel, stores: readonly Store[]): void {
    kernel.stores.splice(0, kernel.stores.length, ...stores);
    this.#forget(kernel);
  }

  appendsTo(attend: Node, kernel: Kernel): void {
    this.#appends.set(attend, [...(this.#appends.get(attend) ?? []), kernel]);
  }

  waitFor(kernel: Kernel, others: readonly Kernel[]): void {
    this.#waits.set(kernel, others);
  }

  /** Nodes of other kernels, and function inputs, that a kernel reads; and its own, where it would need them at another place than its own. */
  reads(kernel: Kernel): ReadonlySet<Node> {
    return this.#of(kernel).reads;
  }

  /** What a kernel of its own would read for a node. */
  readsFor(node: Node): ReadonlySet<Node> {
    return this.walkFrom([node], null).reads;
  }

  /** Nodes that a kernel works out, and the parameters and constants in them. */
  within(kernel: Kernel): readonly Node[] {
    const { visits, reads } = this.#of(kernel);
    return [...new Set(visits.map(({ node }) => node))].filter((node) => !reads.has(node));
  }

  /** Delays through which a kernel reads what earlier steps left. */
  delaysOf(kernel: Kernel): readonly Node<"delay">[] {
    return this.#of(kernel).visits.flatMap(({ node }) => {
      const owner = this.#owner.get(node) ?? kernel;
      return isOp(node, "delay") && owner === kernel && statesOf(node).length > 0 ? [node] : [];
    });
  }

  dependsOn(kernel: Kernel): ReadonlySet<Kernel> {
    const kernels = new Set<Kernel>(this.#waits.get(kernel) ?? []);
    for (const node of this.reads(kernel)) {
      const owner = this.#owner.get(node);
      if (owner !== undefined) kernels.add(owner);
    }
    if (kernel.kind === "attend") for (const k of this.#appends.get(kernel.attend) ?? []) kernels.add(k);
    const index = groupingOf(kernel)?.index ?? null;
    if (index !== null) for (const k of this.kernels) if (k.kind === "group" && k.index === index) kernels.add(k);
    return kernels;
  }

  /** True when `from` depends on `to`, directly or not. */
  reaches(from: Kernel, to: Kernel): boolean {
    const seen = new Set<Kernel>();
    const stack = [...this.dependsOn(from)];
    for (let kernel = stack.pop(); kernel !== undefined; kernel = stack.pop()) {
      if (kernel === to) return true;
      if (seen.has(kernel)) continue;
      seen.add(kernel);
      stack.push(...this.dependsOn(kernel));
    }
    return false;
  }

  /** Kernels in an order in which each comes after those it depends on; otherwise as they were made. Throws when they wait for one another. */
  inOrder(): readonly Kernel[] {
    const order: Kernel[] = [];
    const state = new Map<Kernel, "open" | "done">();
    const visit = (kernel: Kernel): void => {
      const known = state.get(kernel);
      if (known === "done") return;
      if (known === "open")
        throw new Error(`kernels wait for one another: ${order.length} of ${this.kernels.length} placed`);
      state.set(kernel, "open");
      for (const k of this.dependsOn(kernel)) visit(k);
      state.set(kernel, "done");
      order.push(kernel);
    };
    for (const kernel of this.kernels) visit(kernel);
    return order;
  }

  #of(kernel: Kernel): Walk {
    const known = this.#known.get(kernel);
    if (known !== undefined) return known;
    const walk = this.walkFrom(rootsOf(kernel), kernel);
    this.#keep(kernel, walk);
    return walk;
  }

  /**
   * From nodes down to what lies in memory, as a kernel sees it that owns them (null: one that owns nothing yet). What a kernel holds it has
   * at its own place, so a node of its own that is wanted at another (an earlier token, a row that an index chose) is not held. With
   * `stored`, as if those nodes lay in memory.
   */
  walkFrom(roots: readonly Node[], kernel: Kernel | null, stored: ReadonlySet<Node> = new Set()): Walk {
    this.walks++;
    const visits: Visit[] = [];
    const seen = new Set<string>();
    const place = kernel === null ? new Set<string>() : placeLabels(kernel);
    const stack = roots.map((node) => ({ node, own: node.type.axes.map((a) => a.name) as readonly string[] }));
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node, own } = next;
      const key = `${node.id} ${own.join()}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const owner = this.#owner.get(node);
      const elsewhere = node.type.axes.some((a) => place.has(a.name) && !own.includes(a.name));
      const inMemory =
        (owner !== undefined && (owner !== kernel || elsewhere)) || isOp(node, "input") || stored.has(node);
      visits.push({ node, inMemory });
      if (inMemory) continue;
      node.inputs.forEach((input, i) => {
        // Keys and values reach an attention kernel through its caches.
        if (isOp(node, "attend") && owner === kernel && (i === 1 || i === 2)) return;
        stack.push({ node: input, own: ownLabels(node, i, own) });
      });
    }
    return { visits, reads: new Set(visits.flatMap(({ node, inMemory }) => (inMemory ? [node] : []))) };
  }

  #own(node: Node, kernel: Kernel | undefined): void {
    if (this.#owner.get(node) === kernel) return;
    if (kernel === undefined) this.#owner.delete(node);
    else this.#owner.set(node, kernel);
    for (const k of this.#meets.get(node) ?? []) this.#known.delete(k);
    this.#meets.delete(node);
  }

  #keep(kernel: Kernel, walk: Walk): void {
    if (this.#known.get(kernel) === walk) return;
    this.#known.set(kernel, walk);
    for (const { node } of walk.visits) {
      const kernels = this.#meets.get(node);
      if (kernels === undefined) this.#meets.set(node, new Set([kernel]));
      else kernels.add(kernel);
    }
  }

  #forget(kernel: Kernel): void {
    this.#known.delete(kernel);
  }
}

/** Where the walk of a kernel starts. */
function rootsOf(kernel: Kernel): readonly Node[] {
  const roots = [...kernel.computes, ...kernel.stores.map((s) => s.node)];
  if (kernel.kind === "group") roots.push(kernel.index);
  if (kernel.kind === "call") roots.push(...kernel.args);
  return roots;
}
