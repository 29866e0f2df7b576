/**
 * Loops over named axes for the oracle. The one idea: for a value and a list of axes, an array of element offsets in
 * row-major order of those axes, with stride 0 along axes that the value lacks. Broadcasting, transposing, reducing and
 * contracting are all sums of such offsets. Correct before fast: the arrays cost one integer per element.
 */
import type { Dim } from "../graph/dim.ts";
import type { TensorType } from "../graph/type.ts";
import type { Value } from "./define.ts";

export type SizedAxis = Value["axes"][number];
export type Sizes = (dim: Dim) => number;

export function sizedAxes(type: TensorType, sizes: Sizes): readonly SizedAxis[] {
  return type.axes.map((a) => ({ name: a.name, size: sizes(a.size) }));
}

export function countElements(axes: readonly SizedAxis[]): number {
  return axes.reduce((n, a) => n * a.size, 1);
}

/** Distance in elements between neighbours along an axis; 0 when the value lacks it. */
export function strideOf(value: Value, name: string): number {
  const at = value.axes.findIndex((a) => a.name === name);
  return at < 0 ? 0 : countElements(value.axes.slice(at + 1));
}

export function sizeOf(value: Value, name: string): number {
  const axis = value.axes.find((a) => a.name === name);
  if (axis === undefined) throw new Error(`no axis ${name}`);
  return axis.size;
}

/** Where each index over `axes` finds its element of `value`, as offsets in row-major order of `axes`. */
export function offsetsOver(value: Value, axes: readonly SizedAxis[]): Int32Array {
  let offsets = new Int32Array(1);
  for (const axis of axes) {
    const stride = strideOf(value, axis.name);
    const wider = new Int32Array(offsets.length * axis.size);
    for (let i = 0, at = 0; i < offsets.length; i++) {
      for (let j = 0; j < axis.size; j++) wider[at++] = offsets[i]! + j * stride;
    }
    offsets = wider;
  }
  return offsets;
}

/** Applies `f` at every index over `axes` to the elements of up to three values. */
export function mapValues(
  axes: readonly SizedAxis[],
  inputs: readonly Value[],
  f: (a: number, b: number, c: number) => number,
): Value {
  const data = new Float64Array(countElements(axes));
  const [a, b, c] = [0, 1, 2].map((i) => {
    const input = inputs[i] ?? inputs[0];
    if (input === undefined) throw new Error("a map needs an operand");
    return { data: input.data, at: offsetsOver(input, axes) };
  }) as [Operand, Operand, Operand];
  for (let i = 0; i < data.length; i++) data[i] = f(a.data[a.at[i]!]!, b.data[b.at[i]!]!, c.data[c.at[i]!]!);
  return { axes, data };
}

interface Operand {
  readonly data: Float64Array;
  readonly at: Int32Array;
}

/** The same elements in another order of axes, or repeated along new ones. */
export function arrange(value: Value, axes: readonly SizedAxis[]): Value {
  return { axes, data: Float64Array.from(offsetsOver(value, axes), (at) => value.data[at]!) };
}

/** Folds a value over the axes that `axes` lacks. */
export function reduceValue(
  value: Value,
  axes: readonly SizedAxis[],
  combine: (a: number, b: number) => number,
  identity: number,
): Value {
  const kept = offsetsOver(value, axes);
  const folded = offsetsOver(
    value,
    value.axes.filter((a) => !axes.some((b) => b.name === a.name)),
  );
  const data = new Float64Array(kept.length);
  for (let i = 0; i < data.length; i++) {
    let sum = identity;
    for (let j = 0; j < folded.length; j++) sum = combine(sum, value.data[kept[i]! + folded[j]!]!);
    data[i] = sum;
  }
  return { axes, data };
}

/** Sums the product of two values over `summed`, at every index over `axes`. */
export function contractionValues(a: Value, b: Value, axes: readonly SizedAxis[], summed: readonly SizedAxis[]): Value {
  const [outA, outB, inA, inB] = [
    offsetsOver(a, axes),
    offsetsOver(b, axes),
    offsetsOver(a, summed),
    offsetsOver(b, summed),
  ];
  const data = new Float64Array(outA.length);
  for (let i = 0; i < data.length; i++) {
    const [atA, atB] = [outA[i]!, outB[i]!];
    let sum = 0;
    for (let j = 0; j < inA.length; j++) sum += a.data[atA + inA[j]!]! * b.data[atB + inB[j]!]!;
    data[i] = sum;
  }
  return { axes, data };
}
