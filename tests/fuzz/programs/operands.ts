/** Operands brought to where an op has a value that float32 can tell. */
import type { Node } from "../../../compiler/graph/node.ts";
import type { Grower } from "./grow.ts";

/** Not above `most` in size, on the sequence that the program grew with. */
export function tamed(g: Grower, x: Node, most: number): Node {
  if (g.largest(x) <= most) return x;
  return g.must("mul", [g.must("tanh", [x], {}), g.constant(Math.min(most, 4))], {});
}

export function positive(g: Grower, x: Node): Node {
  // A layer is called again with other values than it grew with.
  if (g.layer === null && g.value(x).data.every((v) => v >= 0.01) && g.draw.next() < 0.5) return x;
  const apart = g.constant(g.draw.of([0.5, 1, 0.125]));
  if (g.draw.next() < 0.3) return g.must("max", [x, apart], {});
  return g.must("add", [g.must("abs", [x], {}), apart], {});
}

export function nonzero(g: Grower, x: Node): Node {
  if (x.type.dtype === "f32") {
    if (g.layer === null && g.value(x).data.every((v) => Math.abs(v) >= 0.05) && g.draw.next() < 0.6) return x;
    return positive(g, x);
  }
  return g.must("max", [x, g.constant(1, x.type.dtype)], {});
}
