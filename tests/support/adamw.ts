/** AdamW written as a graph, as the golden values were made: the library's own is held against it. */
import type { Optimizing } from "../../compiler/compile-training.ts";
import { Dim } from "../../compiler/graph/dim.ts";
import { Graph, type Node } from "../../compiler/graph/node.ts";
import { Builder } from "../../compiler/ops/builder.ts";

export function adamw(): Optimizing {
  const b = new Builder(new Graph());
  const input = (name: string): Node =>
    b.must("input", [], { name, type: { dtype: "f32", axes: [{ name: "E", size: Dim.of(4), origin: null }] } });
  const scalar = (path: string): Node => b.must("param", [], { path, type: { dtype: "f32", axes: [] } });
  const [w, m, v] = ["w", "m", "v"].map(input) as [Node, Node, Node];
  const g = b.times(input("g"), scalar("scale"));
  const m1 = b.plus(b.times(m, 0.9), b.times(g, 0.1));
  const v1 = b.plus(b.times(v, 0.95), b.times(b.times(g, g), 0.05));
  const step = b.over(b.times(m1, scalar("first")), b.plus(b.times(b.sqrt(v1), scalar("second")), 1e-8));
  const w1 = b.minus(b.times(w, 1 - 1e-2 * 0.1), step);
  const outputs = [
    { name: "w", role: "result", node: w1 },
    { name: "after.m", role: "update", node: m1 },
    { name: "after.v", role: "update", node: v1 },
  ] as const;
  const program = { functions: new Map(), main: { name: "main", inputs: [], outputs } };
  return {
    ruleOf: () => ({
      program,
      states: [
        { name: "m", initial: 0 },
        { name: "v", initial: 0 },
      ],
    }),
    scalars: [
      { id: "first", expr: ["div", 1e-2, ["sub", 1, ["pow", 0.9, "step"]]] },
      { id: "second", expr: ["div", 1, ["sqrt", ["sub", 1, ["pow", 0.95, "step"]]]] },
    ],
    clip: 1,
  };
}
