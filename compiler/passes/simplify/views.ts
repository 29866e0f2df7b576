/** Chains of views that cancel or collapse, so that kernels see memory and not the way to it. */
import type { OpName } from "../../graph/attrs.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { hasAxis, sameType } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import type { OpDef } from "../../ops/define.ts";
import { isMismatch } from "../../ops/mismatch.ts";
import { ops } from "../../ops/table.ts";
import type { SimplifyRule } from "./rule.ts";

export const views: readonly SimplifyRule[] = [
  { name: "rename a to a = x", build: (n) => (isOp(n, "rename") && n.attrs.from === n.attrs.to ? n.inputs[0]! : null) },
  {
    name: "rename a to b, b to c = rename a to c",
    build: (n, b) => {
      const [x] = n.inputs;
      return isOp(n, "rename") && x !== undefined && isOp(x, "rename") && x.attrs.to === n.attrs.from
        ? b.rename(x.inputs[0]!, x.attrs.from, n.attrs.to)
        : null;
    },
  },
  {
    name: "a transpose into its own order = x; two are the last one",
    build: (n, b) => {
      if (!isOp(n, "transpose")) return null;
      const [x] = n.inputs as [Node];
      if (sameType(x.type, n.type)) return x;
      return isOp(x, "transpose") ? b.transpose(x.inputs[0]!, n.attrs.order) : null;
    },
  },
  {
    name: "split(merge(x)) into axes of the same sizes = renames of x",
    build: (n, b) => {
      const [x] = n.inputs;
      if (!isOp(n, "split") || x === undefined || !isOp(x, "merge") || x.attrs.to.name !== n.attrs.axis) return null;
      const from = x.attrs.axes.map((name) => x.inputs[0]!.type.axes.find((a) => a.name === name)!);
      return renameAll(b, x.inputs[0]!, from, n.attrs.into, n);
    },
  },
  {
    name: "merge(split(x)) of the same axes = rename of x",
    build: (n, b) => {
      const [x] = n.inputs;
      if (!isOp(n, "merge") || x === undefined || !isOp(x, "split")) return null;
      if (x.attrs.into.map((a) => a.name).join() !== n.attrs.axes.join()) return null;
      return keep(n, b.rename(x.inputs[0]!, x.attrs.axis, n.attrs.to.name));
    },
  },
  {
    name: "roll by a, then by b = roll by a + b; roll by 0 = x",
    build: (n, b) => {
      const [x] = n.inputs;
      if (!isOp(n, "roll") || x === undefined) return null;
      if (n.attrs.by === 0) return x;
      return isOp(x, "roll") && x.attrs.axis === n.attrs.axis
        ? b.roll(x.inputs[0]!, n.attrs.axis, x.attrs.by + n.attrs.by)
        : null;
    },
  },
  {
    name: "a sum over a renamed axis is one over the axis",
    build: (n, b) => {
      const [x] = n.inputs;
      if ((ops[n.op] as OpDef<OpName>).lowering.kind !== "reduce" || x === undefined || !isOp(x, "rename")) return null;
      const { axes } = n.attrs as { readonly axes: readonly string[] };
      const { from, to } = x.attrs;
      if (!axes.includes(to)) return null;
      return keep(
        n,
        b.must(n.op as "sum", x.inputs, { axes: axes.map((name) => (name === to ? from : name)) }, n.origin),
      );
    },
  },
  {
    name: "a map broadcasts by itself: op(broadcast(x), y) = op(x, y) where the type stays",
    build: (n, b) => {
      const row = ops[n.op] as OpDef<OpName>;
      const at = row.lowering.kind === "map" ? n.inputs.findIndex((x) => isOp(x, "broadcast")) : -1;
      if (at < 0) return null;
      const next = b.add(
        n.op,
        n.inputs.map((x, i) => (i === at ? x.inputs[0]! : x)),
        n.attrs,
        n.origin,
      );
      return isMismatch(next) ? null : keep(n, next);
    },
  },
  { name: "op(rename(x), y) = rename(op(x, y)): the map stays with what made x", build: renameLast },
];

/** A map of renamed operands is the renamed map, when the operands that are not renamed know neither label. */
function renameLast(node: Node, b: Builder): Node | null {
  const row = ops[node.op] as OpDef<OpName>;
  const first = row.lowering.kind === "map" ? node.inputs.find((x) => isOp(x, "rename")) : undefined;
  if (first === undefined || !isOp(first, "rename")) return null;
  const { from, to } = first.attrs;
  const inputs = node.inputs.map((x) => {
    if (isOp(x, "rename") && x.attrs.from === from && x.attrs.to === to) return x.inputs[0]!;
    return hasAxis(x.type, from) || hasAxis(x.type, to) ? null : x;
  });
  if (inputs.includes(null)) return null;
  const inner = b.add(node.op, inputs as Node[], node.attrs, node.origin);
  return isMismatch(inner) || hasAxis(inner.type, to) ? null : keep(node, b.rename(inner, from, to));
}

function renameAll(b: Builder, x: Node, from: readonly Axis[], to: readonly Axis[], like: Node): Node | null {
  if (from.length !== to.length || !from.every((a, i) => a.size.equals(to[i]!.size))) return null;
  // Labels may trade places; then there is no simple chain of renames.
  if (to.some((a, i) => a.name !== from[i]!.name && hasAxis(x.type, a.name))) return null;
  return keep(
    like,
    from.reduce((node, a, i) => b.rename(node, a.name, to[i]!.name), x),
  );
}

function keep(like: Node, node: Node): Node | null {
  return sameType(like.type, node.type) ? node : null;
}
