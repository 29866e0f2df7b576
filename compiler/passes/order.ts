/**
 * Selections and running sums that no row kernel can hold, because they go along an axis as long as the sequence, choose as many as its
 * length says, or are too long for workgroup memory, as sums over pairs: an element's rank is the number of elements that come before it, and
 * the z-th index is the one whose rank is z. It is the same order as everywhere, descending, ties to the lowest index, and every pair is
 * independent work.
 */
import type { Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { rewriteProgram } from "../graph/traverse.ts";
import type { Axis } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import { freshLabel } from "../ops/gradient.ts";
import { axisOf } from "../ops/typing.ts";

/** Elements of a choice (an index and a value each) and of running sums that fit into 16 KiB, beside what else a row holds. */
const LONGEST = { choice: 1024, sums: 2048 };

export function orderProgram(program: Program, b: Builder): Program {
  return rewriteProgram(program, (node, inputs) => {
    if (isOp(node, "iota") && node.attrs.axis.name === TIME)
      return b.must("position", [], { axis: node.attrs.axis }, node.origin);
    if (isOp(node, "cumsum") && node.attrs.axis !== TIME && isLonger(axisOf(node.type, node.attrs.axis), LONGEST.sums))
      return sumsOver(b, inputs[0]!, node.attrs);
    if (!isOp(node, "topk") || !isLong(node)) return b.must(node.op, inputs, node.attrs, node.origin);
    const { axis, k, part } = node.attrs;
    const [x] = inputs as [Node];
    const ranks = ranksOf(b, x, axis);
    if (part === "ranks") return ranks;
    const place = countUp(b, x, axis);
    const hit = b.eq(ranks, b.iota(k));
    const index = b.sum(b.select(hit, place, b.constant(0, "u32")), [axis]);
    const result = part === "indices" ? index : b.take(x, index, axis);
    return b.transpose(
      result,
      node.type.axes.map((a) => a.name),
    );
  });
}

function isLong(node: Node<"topk">): boolean {
  const { axis, k, part } = node.attrs;
  return part === "ranks" || axisOf(node.inputs[0]!.type, axis).size.value === null || isLonger(k, LONGEST.choice);
}

function isLonger({ size }: Axis, most: number): boolean {
  return size.value === null || size.value > most;
}

/** Of every element, those up to it, or before it. */
function sumsOver(b: Builder, x: Node, { axis, exclusive }: Node<"cumsum">["attrs"]): Node {
  const other = freshLabel(`${axis}'`, [x.type]);
  const i = b.iota(axisOf(x.type, axis));
  const j = b.rename(i, axis, other);
  const before = exclusive ? b.lt(j, i) : b.le(j, i);
  const sums = b.sum(b.select(before, b.rename(x, axis, other), b.constant(0, x.type.dtype)), [other]);
  return b.transpose(
    sums,
    x.type.axes.map((a) => a.name),
  );
}

/** How many elements along the axis come before each. */
function ranksOf(b: Builder, x: Node, axis: string): Node {
  const other = freshLabel(`${axis}'`, [x.type]);
  const [i, j] = [countUp(b, x, axis), b.rename(countUp(b, x, axis), axis, other)];
  const y = b.rename(x, axis, other);
  const first = b.must("or", [b.gt(y, x), b.and(b.eq(y, x), b.lt(j, i))], {});
  return b.transpose(
    b.sum(b.cast(first, "u32"), [other]),
    x.type.axes.map((a) => a.name),
  );
}

function countUp(b: Builder, x: Node, axis: string): Node {
  const own = axisOf(x.type, axis);
  return axis === TIME ? b.must("position", [], { axis: own }) : b.iota(own);
}
