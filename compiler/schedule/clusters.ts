/**
 * Which kernel computes what, while kernels are being formed. A kernel depends on the owners of the nodes it reads; nodes
 * without an owner are computed on the fly by whoever reads them. Joining nodes to a kernel must not close a cycle.
 */
import type { Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { ownLabels } from "../ops/moves.ts";
import { type Kernel, placeLabels } from "./kernel.ts";

export class Clusters {
  readonly kernels: Kernel[] = [];
  readonly #owner = new Map<Node, Kernel>();
  /** Kernels that append to the caches of an attention op. */
  readonly #appends = new Map<Node, Kernel[]>();
  /** Kernels that come after others without reading what they leave. */
  readonly #waits = new Map<Kernel, readonly Kernel[]>();

  ownerOf(node: Node): Kernel | null {
    return this.#owner.get(node) ?? null;
  }

  add<K extends Kernel>(kernel: K): K {
    this.kernels.push(kernel);
    for (const node of kernel.computes) this.#owner.set(node, kernel);
    return kernel;
  }

  /** Adds nodes to a kernel, unless it would then depend on itself. */
  join(kernel: Kernel, nodes: readonly Node[]): boolean {
    const before = nodes.map((n) => this.#owner.get(n) ?? null);
    for (const node of nodes) this.#owner.set(node, kernel);
    kernel.computes.push(...nodes);
    if (!this.reaches(kernel, kernel)) return true;
    kernel.computes.splice(kernel.computes.length - nodes.length);
    nodes.forEach((node, i) => (before[i] === null ? this.#owner.delete(node) : this.#owner.set(node, before[i]!)));
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
    return true;
  }

  appendsTo(attend: Node, kernel: Kernel): void {
    this.#appends.set(attend, [...(this.#appends.get(attend) ?? []), kernel]);
  }

  waitFor(kernel: Kernel, others: readonly Kernel[]): void {
    this.#waits.set(kernel, others);
  }

  /** Nodes of other kernels, and function inputs, that a kernel reads; and its own, where it would need them at another place than its own. */
  reads(kernel: Kernel): ReadonlySet<Node> {
    return new Set(this.#walk(kernel).flatMap(({ node, inMemory }) => (inMemory ? [node] : [])));
  }

  /** Nodes that a kernel works out, and the parameters and constants in them. */
  within(kernel: Kernel): readonly Node[] {
    const read = this.reads(kernel);
    return [...new Set(this.#walk(kernel).map(({ node }) => node))].filter((node) => !read.has(node));
  }

  /** Delays that a kernel reads through. */
  delaysOf(kernel: Kernel): readonly Node<"delay">[] {
    return this.#walk(kernel).flatMap(({ node }) => {
      const owner = this.#owner.get(node) ?? kernel;
      return isOp(node, "delay") && owner === kernel ? [node] : [];
    });
  }

  /**
   * From what a kernel computes and stores down to what lies in memory. What a kernel holds it has at its own place, so a node of its own that
   * is wanted at another (an earlier token, a row that an index chose) is not held.
   */
  #walk(kernel: Kernel): readonly Step[] {
    const order: Step[] = [];
    const seen = new Set<string>();
    const place = placeLabels(kernel);
    const stack: { readonly node: Node; readonly own: readonly string[] }[] = [];
    const start = (nodes: readonly Node[]): void => {
      stack.push(...nodes.map((node) => ({ node, own: node.type.axes.map((a) => a.name) })));
    };
    start([...kernel.computes, ...kernel.stores.map((s) => s.node)]);
    if (kernel.kind === "group") start([kernel.index]);
    if (kernel.kind === "call") start(kernel.args);
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node, own } = next;
      const key = `${node.id} ${own.join()}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const owner = this.#owner.get(node);
      const elsewhere = node.type.axes.some((a) => place.has(a.name) && !own.includes(a.name));
      const inMemory = (owner !== undefined && (owner !== kernel || elsewhere)) || isOp(node, "input");
      order.push({ node, inMemory });
      if (inMemory) continue;
      node.inputs.forEach((input, i) => {
        // Keys and values reach an attention kernel through its caches.
        if (isOp(node, "attend") && owner === kernel && (i === 1 || i === 2)) return;
        stack.push({ node: input, own: ownLabels(node, i, own) });
      });
    }
    return order;
  }

  dependsOn(kernel: Kernel): ReadonlySet<Kernel> {
    const kernels = new Set<Kernel>(this.#waits.get(kernel) ?? []);
    for (const node of this.reads(kernel)) {
      const owner = this.#owner.get(node);
      if (owner !== undefined) kernels.add(owner);
    }
    if (kernel.kind === "attend") for (const k of this.#appends.get(kernel.attend) ?? []) kernels.add(k);
    if (kernel.kind === "contract") {
      const index = kernel.groups[0]?.matrices[0]?.index ?? null;
      for (const k of this.kernels) if (k.kind === "group" && k.index === index) kernels.add(k);
    }
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

  /** Kernels in an order in which each comes after those it depends on; otherwise as they were made. */
  inOrder(): readonly Kernel[] {
    const order: Kernel[] = [];
    const done = new Set<Kernel>();
    const visit = (kernel: Kernel): void => {
      if (done.has(kernel)) return;
      done.add(kernel);
      for (const k of this.dependsOn(kernel)) visit(k);
      order.push(kernel);
    };
    for (const kernel of this.kernels) visit(kernel);
    return order;
  }
}

/** A node on the way to memory. */
interface Step {
  readonly node: Node;
  /** Where the way ends: what another kernel leaves, or this one would have to have left before. */
  readonly inMemory: boolean;
}
