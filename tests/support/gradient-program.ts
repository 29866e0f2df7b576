/** One number of a program, and its inputs as parameters: what gradients are tested with. */
import type { Node, Program } from "../../compiler/graph/node.ts";
import { isOp } from "../../compiler/graph/node.ts";
import { outputNodes, rewriteNodes } from "../../compiler/graph/traverse.ts";
import type { Builder } from "../../compiler/ops/builder.ts";

/** One number from a program: its float results with uneven weights, and its losses. */
export function weighted(program: Program, b: Builder): Program {
  const parts = program.main.outputs.flatMap(({ role, node }, i): Node[] => {
    if (node.type.dtype !== "f32" || (role !== "result" && role !== "loss")) return [];
    if (role === "loss") return [node];
    const uneven = node.type.axes.reduce<Node>(
      (sum, axis, k) => b.plus(sum, b.times(b.cast(b.iota(axis), "f32"), 0.37 * (k + 1))),
      b.constant(0.5 + i),
    );
    return [
      b.sum(
        b.times(node, b.sin(uneven)),
        node.type.axes.map((a) => a.name),
      ),
    ];
  });
  const node = parts.reduce((sum, part) => b.plus(sum, part));
  return { ...program, main: { ...program.main, outputs: [{ name: "loss", role: "loss", node }] } };
}

/** Float inputs of main as parameters of their names, so that they have gradients too. */
export function bindInputs(program: Program, b: Builder): Program {
  const { main } = program;
  const image = (node: Node, inputs: readonly Node[]): Node =>
    isOp(node, "input") && node.type.dtype === "f32"
      ? b.must("param", [], { path: node.attrs.name, type: node.type })
      : b.must(node.op, inputs, node.attrs);
  const outputs = rewriteNodes(outputNodes(main), image).map((node, i) => ({ ...main.outputs[i]!, node }));
  return { ...program, main: { ...main, inputs: main.inputs.filter((n) => n.type.dtype !== "f32"), outputs } };
}

/** Float inputs of main with a factor for each channel, `scale.` and the input's name: its gradient is made of the input's at every token. */
export function scaleInputs(program: Program, b: Builder): Program {
  const { main } = program;
  const image = (node: Node, inputs: readonly Node[]): Node => {
    if (!isOp(node, "input") || node.type.dtype !== "f32") return b.must(node.op, inputs, node.attrs);
    const type = { ...node.type, axes: node.type.axes.filter((a) => a.size.value !== null) };
    return b.times(node, b.plus(1, b.must("param", [], { path: `scale.${node.attrs.name}`, type })));
  };
  const outputs = rewriteNodes(outputNodes(main), image).map((node, i) => ({ ...main.outputs[i]!, node }));
  return { ...program, main: { ...main, outputs } };
}
