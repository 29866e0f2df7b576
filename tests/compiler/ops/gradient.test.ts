import { expect, test } from "vitest";
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Graph } from "../../../compiler/graph/node.ts";
import { parseAxis, parseType } from "../../../compiler/graph/parse.ts";
import { formatType } from "../../../compiler/graph/type.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { OpDef, Value } from "../../../compiler/ops/define.ts";
import { fitGradient } from "../../../compiler/ops/gradient.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { evaluateNodes } from "../../../compiler/reference/interpret.ts";

test("a part that begins after one of symbolic size gets its own piece of the gradient", () => {
  const attrs = { axis: "T", to: parseAxis("T=T + 2") };
  const [first, second] = gradientsOf("concat", ["f32[T]", "f32[T=2, D=2]"], attrs, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 3);
  // The gradient is [5, 2]; the first part was repeated over D.
  expect(first).toEqual([3, 7, 11]);
  expect(second).toEqual([7, 8, 9, 10]);
});

test("a slice of a symbolic axis is padded at its end", () => {
  const attrs = { axis: "T", start: 1, to: parseAxis("S=T + -2") };
  expect(gradientsOf("slice", ["f32[T]"], attrs, [7, 8], 4)).toEqual([[0, 7, 8, 0]]);
});

test("a gradient is summed, repeated and reordered into the type of its input", () => {
  const b = new Builder(new Graph());
  const g = b.must("input", [], { name: "g", type: parseType("f32[A=2, B=3]") });
  const fitted = fitGradient(b, g, parseType("f32[B=3, C=2]"));
  expect(formatType(fitted.type)).toBe("f32[B=3, C=2]");
  const value: Value = {
    axes: axes([
      ["A", 2],
      ["B", 3],
    ]),
    data: Float64Array.of(1, 2, 3, 10, 20, 30),
  };
  expect([...run([fitted], { g: value }, 0)[0]!]).toEqual([11, 11, 22, 22, 33, 33]);
});

/** The gradients of an op's inputs (all zeros themselves), given that of its output. */
function gradientsOf<O extends OpName>(
  op: O,
  types: readonly string[],
  attrs: Attrs[O],
  ct: readonly number[],
  T: number,
) {
  const b = new Builder(new Graph());
  const inputs = types.map((text, i) => b.must("input", [], { name: `x${i}`, type: parseType(text) }));
  const node = b.must(op, inputs, attrs);
  const given = b.must("input", [], { name: "ct", type: node.type });
  const gradients = (ops[op] as OpDef<O>).vjp!(b, node, given).map((g) => g!);
  gradients.forEach((g, i) => expect(formatType(g.type)).toBe(formatType(inputs[i]!.type)));
  const sized = node.type.axes.map((a): [string, number] => [a.name, a.size.evaluate({ T })]);
  return run(gradients, { ct: { axes: axes(sized), data: Float64Array.from(ct) } }, T);
}

function run(nodes: Parameters<typeof evaluateNodes>[0], inputs: Record<string, Value>, T: number) {
  const params = (path: string): never => {
    throw new Error(`no parameter ${path}`);
  };
  return evaluateNodes(nodes, { inputs, params, sizes: { T } }).map((v) => [...v.data]);
}

function axes(list: readonly (readonly [string, number])[]): Value["axes"] {
  return list.map(([name, size]) => ({ name, size }));
}
