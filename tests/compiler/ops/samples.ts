/** Turns the op table's samples into types, values and graphs for the tests that are generated from it. */
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { TensorType } from "../../../compiler/graph/type.ts";
import type { Sample, Value } from "../../../compiler/ops/define.ts";
import { ops } from "../../../compiler/ops/table.ts";

export interface SampleCase {
  readonly op: OpName;
  readonly label: string;
  readonly attrs: Attrs[OpName];
  readonly types: readonly TensorType[];
  readonly values: readonly Value[];
  readonly output: readonly number[];
}

export const opNames = Object.keys(ops) as readonly OpName[];

export const sampleCases: readonly SampleCase[] = opNames.flatMap((op) =>
  (ops[op].samples as readonly Sample<OpName>[]).map((sample, i) => ({
    op,
    label: `${op} ${i + 1}`,
    attrs: sample.attrs,
    types: sample.inputs.map((x) => readType(x.axes, x.dtype ?? "f32")),
    values: sample.inputs.map((x) => readValue(x.axes, x.data)),
    output: sample.output,
  })),
);

/** The size of a sample's axis: samples have no symbols. */
export function fixedSize(dim: Dim): number {
  return dim.evaluate({});
}

function readType(axes: string, dtype: TensorType["dtype"]): TensorType {
  return { dtype, axes: readAxes(axes).map((a) => ({ name: a.name, size: Dim.of(a.size), origin: null })) };
}

function readValue(axes: string, data: readonly number[]): Value {
  return { axes: readAxes(axes), data: Float64Array.from(data) };
}

function readAxes(text: string): readonly { readonly name: string; readonly size: number }[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", size] = part.split("=");
      return { name, size: Number(size) };
    });
}
