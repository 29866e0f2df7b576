/** A latent read through a matrix per head: `dot[Z](c [T, Z], W [H, C, Z])`, perhaps under other names. */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { viewWeight } from "../../graph/matrix.ts";
import { TIME, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import { freshLabel } from "../../ops/gradient.ts";

export interface Expansion {
  readonly latent: Node;
  readonly weight: Node;
  /** The label that is contracted. */
  readonly over: string;
  /** Labels of the weight that are left, and what they are called where the result is used. */
  readonly labels: ReadonlyMap<string, string>;
}

export function findExpansion(node: Node): Expansion | null {
  const renames: (readonly [from: string, to: string])[] = [];
  let dot = node;
  for (; isOp(dot, "rename") || isOp(dot, "transpose"); dot = dot.inputs[0]!)
    if (isOp(dot, "rename")) renames.unshift([dot.attrs.from, dot.attrs.to]);
  if (!isOp(dot, "dot")) return null;
  const [over, ...more] = dot.attrs.axes;
  if (over === undefined || more.length > 0) return null;
  for (const [latent, weight] of [dot.inputs, [...dot.inputs].reverse()] as [Node, Node][]) {
    const view = viewWeight(weight);
    const plain = latent.type.axes.every((a) => a.name === TIME || a.name === over) && hasAxis(latent.type, TIME);
    if (view === null || view.picked !== null || !plain) continue;
    const labels = new Map(
      weight.type.axes
        .filter((a) => a.name !== over)
        .map((a) => [a.name, renames.reduce((label, [from, to]) => (label === from ? to : label), a.name)]),
    );
    return { latent, weight, over, labels };
  }
  return null;
}

/** The query in the latent's channels, and the latent as key, both along `channel`. */
export function queryLatent(
  b: Builder,
  query: Node,
  { latent, weight, over, labels }: Expansion,
  channel: string,
): readonly [Node, Node] {
  // Under names of their own, so that no step of the renaming meets another's.
  const own = new Map([...labels].map(([inner, outer], i) => [inner, { outer, fresh: `${inner}"${i}` }]));
  const z = freshLabel(`${over}"`, [query.type, weight.type]);
  const q = [...own.values()].reduce((x, l) => b.rename(x, l.outer, l.fresh), query);
  const w = [...own].reduce((x, [inner, l]) => b.rename(x, inner, l.fresh), b.rename(weight, over, z));
  const channels = [...own.values()].filter((l) => l.outer === channel).map((l) => l.fresh);
  const turned = b.dot(q, w, channels);
  const back = [...own.values()].reduce(
    (x, l) => (hasAxis(x.type, l.fresh) ? b.rename(x, l.fresh, l.outer) : x),
    b.rename(turned, z, channel),
  );
  return [back, b.rename(latent, over, channel)];
}
