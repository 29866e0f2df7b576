/**
 * How an op comes into a random program that `rows.ts` says nothing of: by a sample of its row, with the program's own axes in the place
 * of the sample's, and operands in the range of the sample's numbers. What is computed element by element takes whatever the program has.
 */
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import type { Axis, DType } from "../../../compiler/graph/type.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import type { Sample } from "../../../compiler/ops/define.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { axesMade, axesOfSample, rangeOfOperand, renameAttrs, samplesOf } from "../../support/sample-op.ts";
import { type Grower, timeAxis } from "./grow.ts";
import { positive, tamed } from "./operands.ts";

export function sampleRow(op: OpName): (g: Grower) => Node | null {
  const samples = samplesOf(op);
  const isPlain = ops[op].lowering.kind === "map" && samples.every(({ attrs }) => Object.keys(attrs).length === 0);
  return (g) => {
    if (samples.length === 0) return null;
    const sample = g.draw.of(samples);
    return isPlain ? elementwise(g, op, sample) : asSampled(g, op, sample);
  };
}

/** Operands of the pool: the first any, the others rather without axes that it lacks. */
function elementwise(g: Grower, op: OpName, sample: Sample<OpName>): Node | null {
  const inputs: Node[] = [];
  for (const [i, { dtype = "f32" }] of sample.inputs.entries()) {
    const [first] = inputs;
    const fits = (n: Node): boolean =>
      n.type.dtype === dtype && (first === undefined || n.type.axes.every((a) => hasAxis(first.type, a.name)));
    const found = g.pick(fits) ?? (dtype === "f32" ? g.float() : g.of(dtype));
    if (found === null) return null;
    inputs.push(dtype === "f32" ? within(g, op, i, found) : found);
  }
  return g.make(op, inputs, {} as Attrs[OpName]);
}

function asSampled(g: Grower, op: OpName, sample: Sample<OpName>): Node | null {
  const lists = sample.inputs.map(({ axes }) => axesOfSample(axes));
  // What is no float has the sample's own numbers, as many as the sample has tokens; and a size may rest on how many these are.
  const isTimeless =
    g.draw.next() < 0.3 ||
    sample.inputs.some(({ dtype, axes }) => dtype !== undefined && dtype !== "f32" && /\bT=/.test(axes));
  const axes = new Map<string, Axis>();
  for (const { name, size } of [
    ...lists.flat(),
    ...axesMade(sample.attrs).map((a) => ({ name: a.name, size: a.size.value ?? 1 })),
  ])
    if (!axes.has(name))
      axes.set(name, name === TIME && !isTimeless ? timeAxis : g.labelled(Dim.of(size), [...axes.values(), timeAxis]));
  const inputs = sample.inputs.map(({ dtype = "f32", data }, i): Node => {
    const own = lists[i]!.map(({ name }) => axes.get(name)!);
    return dtype === "f32" ? within(g, op, i, floats(g, own)) : given(g, own, data, dtype);
  });
  return g.make(op, inputs, renameAttrs(sample.attrs, axes));
}

/** Floats of these axes, other ones for each token where time is one. */
function floats(g: Grower, axes: readonly Axis[]): Node {
  const others = axes.filter((a) => a.name !== TIME);
  const weights = g.param(others);
  if (others.length === axes.length) return weights;
  const x = g.tokens();
  const summed = x.type.axes.filter((a) => a.name !== TIME).map((a) => a.name);
  const token = g.must("tanh", [g.must("sum", [x], { axes: summed })], {});
  return g.must("transpose", [g.must("mul", [token, weights], {})], { order: axes.map((a) => a.name) });
}

/** These numbers, row by row. */
function given(g: Grower, axes: readonly Axis[], data: readonly number[], dtype: DType): Node {
  if (axes.length === 0) return g.constant(data[0] ?? 0, dtype);
  const flat = g.labelled(Dim.of(data.length), axes);
  const values = g.must("values", [], { axis: flat, values: data });
  const shaped =
    axes.length === 1 ? renamed(g, values, flat, axes[0]!) : g.must("split", [values], { axis: flat.name, into: axes });
  return g.must("cast", [shaped], { to: dtype });
}

const renamed = (g: Grower, x: Node, from: Axis, to: Axis): Node =>
  g.must("rename", [x], { from: from.name, to: to.name });

/** In the range of the numbers that the samples have there. */
function within(g: Grower, op: OpName, i: number, x: Node): Node {
  const { data } = rangeOfOperand(op, i);
  const most = Math.max(1, ...data.map(Math.abs));
  return data.length > 0 && data.every((v) => v > 0) ? positive(g, tamed(g, x, most)) : tamed(g, x, most);
}
