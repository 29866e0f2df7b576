/** What noise of training depends on: which sequence of the run it is for. */
import { expect, test } from "vitest";
import { Dim } from "../compiler/graph/dim.ts";
import { Graph, type Program } from "../compiler/graph/node.ts";
import { BATCH, batchProgram } from "../compiler/index.ts";
import { Builder } from "../compiler/ops/builder.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { randomParams } from "./support/compare-plan.ts";
import { makeLayer } from "./support/library.ts";

const b = new Builder(new Graph());
const node = b.cast(b.must("draw", [], {}), "f32");
const program: Program = {
  functions: new Map(),
  main: { name: "main", inputs: [], outputs: [{ name: "out", role: "result", node }] },
};
const three = { ...BATCH, size: Dim.of(3) };
const run = (of: Program) => [
  ...evaluateProgram(of, { inputs: {}, params: () => ({ axes: [], data: Float64Array.of(5) }), sizes: {} })["out"]!
    .data,
];

test("outside of a run it is 0, in a batch as well", () => {
  expect(run(program)).toEqual([0]);
  expect(new Set(run(batchProgram(program, b, three).program))).toEqual(new Set([0]));
});

test("in a run every sequence has its own number, which goes on from micro-batch to micro-batch", () => {
  const drawn = b.cast(b.must("param", [], { path: "drawn", type: { dtype: "f32", axes: [] } }), "u32");
  expect(run(batchProgram(program, b, three, drawn).program)).toEqual([5, 6, 7]);
});

test("noise of the library is another for another sequence of a run, and the same without a run", () => {
  const { program: layer, b: own } = makeLayer("Jittered", {}, "train");
  const [T, batch] = [4, 2];
  const outputs = (of: Program): readonly Float64Array[] => {
    // Both sequences of a micro-batch are alike.
    const inputs = Object.fromEntries(
      layer.main.inputs.map(({ attrs: { name, type } }) => {
        const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate({ T }) }));
        const count = axes.reduce((n, a) => n * a.size, 1);
        const data = Float64Array.from({ length: batch * count }, (_, i) => Math.sin(1 + (i % count)));
        return [name, { axes: [{ name: "batch", size: batch }, ...axes], data }];
      }),
    );
    const results = evaluateProgram(of, { inputs, params: randomParams(layer), sizes: { T } });
    return Object.values(results).flatMap(({ axes, data }) => (axes[0]?.name === "batch" ? [data] : []));
  };
  const isAlike = (data: Float64Array): boolean =>
    data.slice(0, data.length / 2).every((x, i) => x === data[data.length / 2 + i]);
  const sized = { ...BATCH, size: Dim.of(batch) };
  expect(outputs(batchProgram(layer, own, sized).program).every(isAlike)).toBe(true);
  expect(outputs(batchProgram(layer, own, sized, own.constant(9, "u32")).program).every(isAlike)).toBe(false);
});
