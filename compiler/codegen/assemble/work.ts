/** Work of a dispatch for reports: floating-point operations of what it computes, bytes of what it binds. */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { findAxis } from "../../graph/type.ts";
import { elementsOf, sizeOf, times } from "../lower/size.ts";
import type { OpDef } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";
import type { Parameter, Size } from "../../plan/plan.ts";
import type { Kernel } from "../schedule/kernel.ts";

/** Attention's work depends on the context; it is given for full caches. */
export function flopsOf(kernel: Kernel): Size {
  const linear = kernel.computes.filter((n) => n.op !== "attend");
  const total = linear.reduce((sum, n) => sum.plus(flopsOfNode(n)), Dim.of(0));
  if (kernel.kind !== "attend") return safeSize(total);
  const [q, , v] = kernel.attend.inputs as [Node, Node, Node];
  const fixed = (n: Node): number => n.type.axes.reduce((product, a) => product * (a.size.value ?? 1), 1);
  const heads = fixed(q) / (findAxis(q.type, kernel.attend.attrs.channel)?.size.value ?? 1);
  const width = fixed(q) / heads + (v.type.axes.at(-1)?.size.value ?? 1);
  return ["*", ["*", "T", "P"], 2 * heads * width];
}

/** Bytes of parameters and buffers; a routed contraction touches as many banks as it has choices, at most all. */
export function bytesOf(kernel: Kernel, reads: ReadonlySet<Node>, parts: readonly Parameter["parts"][number][]): Size {
  const weights = parts.reduce((n, p) => n + p.bytes, 0);
  const stored = kernel.stores.map((s) => times(elementsOf(s.node), 4));
  const read = [...reads].map((n) => times(elementsOf(n), 4));
  const routed = kernel.kind === "contraction" ? (kernel.groups[0]?.matrices[0]?.index ?? null) : null;
  let touched: Size = weights;
  if (routed !== null) {
    const matrix = kernel.kind === "contraction" ? kernel.groups[0]?.matrices[0] : undefined;
    const banks = matrix === undefined ? 1 : (findAxis(matrix.param.type, matrix.bank[0] ?? "")?.size.value ?? 1);
    touched = ["min", weights, times(elementsOf(routed), Math.ceil(weights / banks))];
  } else if (kernel.kind !== "contraction" && weights > 0) {
    const most = stored.reduce<Size>((a, b) => ["+", a, b], 0);
    touched = ["min", weights, ["max", most, 4096]];
  }
  return [...stored, ...read].reduce<Size>((a, b) => (a === 0 ? b : ["+", a, b]), touched);
}

function flopsOfNode(node: Node): Dim {
  const row = ops[node.op] as OpDef<typeof node.op>;
  return row.flops(
    node.inputs.map((n) => n.type),
    node.attrs,
    node.type,
  );
}

function safeSize(dim: Dim): Size {
  const mixed = dim.symbols.length > 1;
  return mixed ? sizeOf(dim.substitute((s) => (s === "T" ? null : Dim.of("T")))) : sizeOf(dim);
}
