/**
 * Which kernel computes what, while kernels are being formed. A kernel depends on the owners of the nodes it reads; nodes
 * without an owner are computed on the fly by whoever reads them. Joining nodes to a kernel must not close a cycle.
 */
import type { Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import type { Kernel } from "./kernel.ts";

export class Clusters {
  readonly kernels: Kernel[] = [];
  readonly #owner = new Map<Node, Kernel>();
  /** Kernels that append to the caches of an attention op. */
  readonly #appends = new Map<Node, Kernel[]>();

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

  /** Nodes of other kernels, and function inputs, that a kernel reads. */
  reads(kernel: Kernel): ReadonlySet<Node> {
    const found = new Set<Node>();
    const seen = new Set<Node>();
    const stack: Node[] = [...kernel.computes, ...kernel.stores.map((s) => s.node)];
    if (kernel.kind === "group") stack.push(kernel.index);
    if (kernel.kind === "call") stack.push(...kernel.args);
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      const owner = this.#owner.get(node);
      if ((owner !== undefined && owner !== kernel) || isOp(node, "input")) {
        found.add(node);
        continue;
      }
      // Keys and values reach an attention kernel through its caches.
      stack.push(
        ...(isOp(node, "attend") && owner === kernel ? [node.inputs[0]!, ...node.inputs.slice(3)] : node.inputs),
      );
    }
    return found;
  }

  dependsOn(kernel: Kernel): ReadonlySet<Kernel> {
    const kernels = new Set<Kernel>();
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
