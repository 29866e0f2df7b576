/**
 * Which kernel computes what, while kernels are being formed. A kernel depends on the owners of the nodes it reads; nodes
 * without an owner are computed on the fly by whoever reads them. Joining nodes to a kernel must not close a cycle.
 */
import type { Node } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import { ops } from "../ops/table.ts";
import type { Kernel } from "./kernel.ts";

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

  /** Nodes of other kernels, and function inputs, that a kernel reads; and its own, where it would need them for other tokens. */
  reads(kernel: Kernel): ReadonlySet<Node> {
    const found = new Set<Node>();
    for (const { node, delayed } of this.#walk(kernel)) {
      const owner = this.#owner.get(node);
      if ((owner !== undefined && (owner !== kernel || delayed)) || isOp(node, "input")) found.add(node);
    }
    return found;
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

  /** From what a kernel computes and stores down to what lies in memory; `delayed`: it is wanted at earlier tokens. */
  #walk(kernel: Kernel): readonly { readonly node: Node; readonly delayed: boolean }[] {
    const order: { node: Node; delayed: boolean }[] = [];
    const seen = new Set<string>();
    const stack = [...kernel.computes, ...kernel.stores.map((s) => s.node)].map((node) => ({ node, delayed: false }));
    if (kernel.kind === "group") stack.push({ node: kernel.index, delayed: false });
    if (kernel.kind === "call") stack.push(...kernel.args.map((node) => ({ node, delayed: false })));
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node, delayed } = next;
      const key = `${node.id} ${delayed}`;
      if (seen.has(key)) continue;
      seen.add(key);
      order.push(next);
      const owner = this.#owner.get(node);
      if ((owner !== undefined && (owner !== kernel || delayed)) || isOp(node, "input")) continue;
      // Keys and values reach an attention kernel through its caches.
      const inputs =
        isOp(node, "attend") && owner === kernel ? [node.inputs[0]!, ...node.inputs.slice(3)] : node.inputs;
      const moved = movesTokens(node);
      stack.push(...inputs.map((input, i) => ({ node: input, delayed: delayed || (moved && i === 0) })));
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

/** Whether an element of the result comes from another token than its own. */
function movesTokens(node: Node): boolean {
  if (isOp(node, "delay")) return true;
  const { kind } = ops[node.op].lowering;
  const attrs = node.attrs as { readonly axis?: string; readonly axes?: readonly unknown[]; readonly from?: string };
  if (kind === "gather" || kind === "concat") return attrs.axis === TIME;
  return kind === "view" && (attrs.axis === TIME || attrs.from === TIME || (attrs.axes ?? []).includes(TIME));
}
