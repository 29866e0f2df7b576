import { describe, expect, test } from "vitest";
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import { Graph } from "../../../compiler/graph/node.ts";
import type { TensorType } from "../../../compiler/graph/type.ts";
import { formatType, hasAxis } from "../../../compiler/graph/type.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { OpDef, Value } from "../../../compiler/ops/define.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { evaluateNodes } from "../../../compiler/reference/interpret.ts";
import type { SampleCase } from "./samples.ts";
import { fixedSize, opNames, sampleCases } from "./samples.ts";

describe.each(sampleCases)("$label", (sample) => {
  test("gives the sample's output", () => {
    const { data } = evaluateSample(sample, sample.values);
    expect(data).toHaveLength(sample.output.length);
    sample.output.forEach((expected, i) => expect(data[i]).toBeCloseTo(expected, 12));
  });

  test("has a value with the axes that its type says", () => {
    const type = inferSample(sample);
    const axes = type.axes.map((a) => ({ name: a.name, size: fixedSize(a.size) }));
    expect(evaluateSample(sample, sample.values).axes).toEqual(axes);
  });
});

const differentiable = sampleCases.filter(
  (s) => rowOf(s.op).vjp !== null && inferSample(s).dtype === "f32" && s.types.some((t) => t.dtype === "f32"),
);

describe.each(differentiable)("the gradient of $label", (sample) => {
  test("agrees with central differences", () => {
    const weights = inferWeights(sample);
    gradients(sample, weights).forEach((gradient, i) => {
      if (sample.types[i]?.dtype !== "f32") return expect(gradient).toBeNull();
      const expected = STOPS.includes(sample.op) ? sample.values[i]!.data.map(() => 0) : difference(sample, weights, i);
      const data = gradient?.data ?? sample.values[i]!.data.map(() => 0);
      expected.forEach((e, k) => {
        const error = Math.abs(data[k]! - e) / Math.max(1, Math.abs(e));
        expect(error, `input ${i} at ${k}: ${data[k]} where differences give ${e}`).toBeLessThan(1e-5);
      });
    });
  });
});

test("equal maxima share the gradient, and the first of two equal operands takes it", () => {
  const x = { axes: [{ name: "D", size: 3 }], data: Float64Array.of(2, 1, 2) };
  const type = sampleCases.find((s) => s.op === "exp")!.types[0]!;
  const reduced = {
    op: "reduce_max",
    label: "",
    attrs: { axes: ["D"] },
    types: [type],
    values: [x],
    output: [],
  } as const;
  expect(gradients(reduced, { axes: [], data: Float64Array.of(6) })[0]?.data).toEqual(Float64Array.of(3, 0, 3));
  const pair = { op: "max", label: "", attrs: {}, types: [type, type], values: [x, x], output: [] } as const;
  const [first, second] = gradients(pair, { axes: x.axes, data: Float64Array.of(1, 1, 1) });
  expect(first?.data).toEqual(Float64Array.of(1, 1, 1));
  expect(second?.data).toEqual(Float64Array.of(0, 0, 0));
});

test("only sources and calls have no samples", () => {
  expect(opNames.filter((op) => rowOf(op).samples.length === 0)).toEqual(["input", "param", "call"]);
});

test("only comparisons, logic and calls have no gradient rule", () => {
  const without = ["eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "attend_grad", "call"];
  expect(opNames.filter((op) => rowOf(op).vjp === null)).toEqual(without);
});

test("ops that mix positions say so", () => {
  const mixing = sampleCases.filter((s) => rowOf(s.op).time(s.attrs, s.types) !== "pointwise").map((s) => s.label);
  expect(mixing).toEqual([
    "sum 2",
    "sum 3",
    "reduce_min 1",
    "merge 1",
    "merge 2",
    "slice 2",
    "roll 3",
    "concat 2",
    "spread 1",
    "topk 4",
    "cumsum 2",
    "delay 1",
    "delay 2",
    "scan 1",
    "scan 2",
    "scan 3",
    "scan 4",
    "delta_rule 1",
    "delta_rule 2",
    "delta_rule 3",
    "attend 1",
    "attend 2",
    "attend 3",
    "attend 4",
    "attend 5",
    "attend_grad 1",
    "attend_grad 2",
    "attend_grad 3",
  ]);
});

test("what an op computes at one position depends on no later one unless its row says so", () => {
  for (const sample of sampleCases) {
    if (rowOf(sample.op).time(sample.attrs, sample.types) === "future" || !hasAxis(inferSample(sample), "T")) continue;
    const before = evaluateSample(sample, sample.values);
    const after = evaluateSample(
      sample,
      sample.values.map((v, i) => (sample.types[i]?.dtype === "f32" ? changeLast(v) : v)),
    );
    const time = before.axes.find((a) => a.name === "T")!;
    const stride = before.axes.slice(before.axes.indexOf(time) + 1).reduce((n, a) => n * a.size, 1);
    before.data.forEach((x, k) => {
      if (Math.floor(k / stride) % time.size < time.size - 1) expect(after.data[k], sample.label).toBe(x);
    });
  }
});

/** Ops whose gradient is zero by definition, whatever the differences say. */
const STOPS: readonly OpName[] = ["detach"];

function rowOf(op: OpName): OpDef<OpName> {
  return ops[op] as unknown as OpDef<OpName>;
}

function inferSample(sample: SampleCase): TensorType {
  const type = rowOf(sample.op).infer(sample.types, sample.attrs);
  if (isMismatch(type)) throw new Error(`${sample.label}: ${type.message}`);
  return type;
}

function evaluateSample(sample: SampleCase, values: readonly Value[]): Value {
  return rowOf(sample.op).evaluate(values, sample.attrs, inferSample(sample), fixedSize);
}

/** Uneven weights for the output, so that no two elements can be confused. */
function inferWeights(sample: SampleCase): Value {
  const { axes, data } = evaluateSample(sample, sample.values);
  return { axes, data: data.map((_, i) => Math.sin(i + 1) + 0.3) };
}

function gradients(sample: SampleCase, weights: Value): readonly (Value | null)[] {
  const b = new Builder(new Graph());
  const bound: Record<string, Value> = { weights };
  const inputs = sample.types.map((type, i) => {
    bound[`x${i}`] = sample.values[i]!;
    return b.must("input", [], { name: `x${i}`, type });
  });
  const node = b.must(sample.op, inputs, sample.attrs as Attrs[OpName]);
  const ct = b.must("input", [], { name: "weights", type: node.type });
  const found = rowOf(sample.op).vjp!(b, node, ct);
  return found.map((gradient: Node | null, i) => {
    if (gradient === null) return null;
    expect(formatType(gradient.type)).toBe(formatType(sample.types[i]!));
    return evaluateNodes([gradient], { inputs: bound, params: missing, sizes: {} })[0]!;
  });
}

function difference(sample: SampleCase, weights: Value, input: number): readonly number[] {
  const loss = (k: number, by: number): number => {
    const values = sample.values.map((v, i) =>
      i === input ? { ...v, data: v.data.map((x, j) => (j === k ? x + by : x)) } : v,
    );
    return evaluateSample(sample, values).data.reduce((sum, y, i) => sum + y * weights.data[i]!, 0);
  };
  const step = 1e-5;
  return Array.from(sample.values[input]!.data, (_, k) => (loss(k, step) - loss(k, -step)) / (2 * step));
}

function changeLast(v: Value): Value {
  const time = v.axes.findIndex((a) => a.name === "T");
  if (time < 0) return v;
  const { size } = v.axes[time]!;
  const stride = v.axes.slice(time + 1).reduce((n, a) => n * a.size, 1);
  return { ...v, data: v.data.map((x, k) => (Math.floor(k / stride) % size === size - 1 ? x * 1.5 + 0.25 : x)) };
}

function missing(path: string): never {
  throw new Error(`no parameter ${path}`);
}
