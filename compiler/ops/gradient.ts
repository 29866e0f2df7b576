/** What gradient rules share: bringing a gradient back to the type of the input that it belongs to. */
import type { Node } from "../graph/node.ts";
import type { TensorType } from "../graph/type.ts";
import { hasAxis } from "../graph/type.ts";
import type { Shorthands } from "./shorthands.ts";

/** Sums over axes that broadcasting added, repeats along those it lost, and puts the axes in the input's order. */
export function fitGradient(b: Shorthands, gradient: Node, like: TensorType): Node {
  const added = gradient.type.axes.filter((a) => !hasAxis(like, a.name)).map((a) => a.name);
  const summed = b.sum(gradient, added);
  const lost = like.axes.filter((a) => !hasAxis(summed.type, a.name));
  return b.transpose(
    b.broadcast(summed, lost),
    like.axes.map((a) => a.name),
  );
}

/** 1 where `index` equals the place along `axis`, 0 elsewhere, as f32: the gradient of picking is a sum over these. */
export function oneHot(b: Shorthands, index: Node, axis: TensorType["axes"][number]): Node {
  return b.cast(b.eq(index, b.iota(axis)), "f32");
}

/** A label that none of the types uses. */
export function freshLabel(name: string, types: readonly TensorType[]): string {
  return types.some((t) => hasAxis(t, name)) ? freshLabel(`${name}'`, types) : name;
}
