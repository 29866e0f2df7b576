/** Random well-typed programs for properties of the graph's text form and of passes. */
import fc from "fast-check";
import type { Node, Program } from "../../../compiler/graph/node.ts";
import { Graph } from "../../../compiler/graph/node.ts";
import { parseAxis, parseType } from "../../../compiler/graph/parse.ts";
import { hasAxis } from "../../../compiler/graph/type.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { Mismatch } from "../../../compiler/ops/mismatch.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";

/** Each step picks a move and two earlier nodes; a move that does not fit its operands is passed over. */
export const programs: fc.Arbitrary<Program> = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 24 })
  .map((steps) => {
    const b = new Builder(new Graph());
    const layer = makeFunction(b, steps.slice(0, steps.length >> 1), "blocks[#].");
    const body = makeFunction(b, steps, "");
    const x =
      body.outputs.find((o) => hasAxis(o.node.type, "T") && o.node.type.dtype === "f32")?.node ?? body.inputs[0]!;
    const fits = x.type.axes.length === 2 && hasAxis(x.type, "D");
    const calls = [0, 1].map((i) => {
      const { type } = layer.outputs[0]!.node;
      const argument = fits ? b.transpose(x, ["T", "D"]) : body.inputs[0]!;
      return b.must("call", [argument], { fn: "layer", path: `blocks[${i}]`, part: 0, type });
    });
    const outputs = [
      ...body.outputs,
      ...calls.map((node, i) => ({ name: `called${i}`, role: "metric" as const, node })),
    ];
    return {
      main: { name: "forward", inputs: body.inputs, outputs },
      functions: new Map([["layer", { name: "layer", ...layer }]]),
    };
  });

function makeFunction(b: Builder, steps: readonly (readonly [number, number, number])[], prefix: string) {
  const x = b.must("input", [], { name: "x", type: parseType("f32[T, D=6]") });
  const w = b.must("param", [], { path: `${prefix}w`, type: parseType("f32[F=4, D=6]") });
  const nodes: Node[] = [x, w, b.constant(0.5), b.iota(parseAxis("D=6"))];
  for (const [move, i, j] of steps) {
    const made = makeNode(b, move, nodes[i % nodes.length]!, nodes[j % nodes.length]!);
    if (made !== null) nodes.push(made);
  }
  const outputs = [
    { name: "out", role: "result" as const, node: nodes.at(-1)! },
    { name: "mean", role: "loss" as const, node: b.sum(x, ["D", "T"]) },
  ];
  return { inputs: [x], outputs };
}

function makeNode(b: Builder, move: number, x: Node, y: Node): Node | null {
  const moves: readonly (() => Node | Mismatch)[] = [
    () => b.add("add", [x, y], {}),
    () => b.add("mul", [x, y], {}),
    () => b.add("tanh", [x], {}),
    () => b.add("cast", [x], { to: "f32" }),
    () => b.add("lt", [x, y], {}),
    () => b.add("dot", [x, y], { axes: ["D"] }),
    () => b.add("sum", [x], { axes: ["D"] }),
    () => b.add("split", [x], { axis: "D", into: [parseAxis("A=2"), parseAxis("B=3")] }),
    () => b.add("merge", [x], { axes: ["A", "B"], to: parseAxis("D=6") }),
    () => b.add("rename", [x], { from: "D", to: "D'" }),
    () => b.add("roll", [x], { axis: "D", by: -2 }),
    () => b.add("topk", [x], { axis: "D", k: parseAxis("K=2"), part: "indices" }),
    () => b.add("slice", [x], { axis: "T", start: 0, to: parseAxis("S=1/2*T") }),
    () => b.add("broadcast", [x], { axes: [parseAxis("T")] }),
    () => b.add("attend", [x, x, x], { channel: "D", causal: true, window: 3, scale: 0.5, softcap: null, state: null }),
  ];
  const made = moves[move % moves.length]!();
  return isMismatch(made) ? null : made;
}
