/** From the layout in which kernels keep a parameter, or what is kept of one, back to row-major order over its axes; f32 alone. */
import type { Parameter } from "../../compiler/plan/plan.ts";
import { FORMATS } from "../../compiler/plan/format.ts";
import { groupOf, matrixSteps, numbers } from "../../compiler/plan/layout.ts";

/**
 * Puts the elements of one part into `into`, f32 row-major over the parameter's axes. `words` is what the part's buffer holds; its padding
 * is left out.
 */
export function unpackPart(
  { axes, layout, parts }: Pick<Parameter, "axes" | "layout" | "parts">,
  part: number,
  words: Float32Array,
  into: Float32Array,
): void {
  const { start, count } = parts[part]!;
  const sizeOf = (names: readonly string[]): number =>
    axes.reduce((n, axis) => (names.includes(axis.name) ? n * axis.size : n), 1);
  if (layout.kind === "plain") {
    const row = axes.slice(1).reduce((n, axis) => n * axis.size, 1);
    into.set(words.subarray(0, count * row), start * row);
    return;
  }
  const [banks, ks, ns] = [layout.bank, layout.k, layout.n].map((names) => placesOf(axes, names)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const byBank = layout.split === "bank";
  const steps = matrixSteps(FORMATS.f32, sizeOf(layout.k), byBank ? sizeOf(layout.n) : count);
  const [ownBanks, ownNs] = byBank
    ? [banks.subarray(start, start + count), ns]
    : [banks, ns.subarray(start, start + count)];
  for (const [b, bank] of ownBanks.entries())
    for (const [k, row] of ks.entries()) {
      const from = groupOf(numbers, steps, { bank: b, k, n: 0 });
      for (let n = 0; n < ownNs.length; n++) into[bank + row + ownNs[n]!] = words[from + n]!;
    }
}

/** The row-major place of every index over some axes, the others at zero. */
export function placesOf(axes: Parameter["axes"], names: readonly string[]): Float64Array {
  const strides = new Map<string, number>();
  let stride = 1;
  for (const { name, size } of [...axes].reverse()) {
    strides.set(name, stride);
    stride *= size;
  }
  return names.reduce((places, name) => {
    const { size } = axes.find((a) => a.name === name)!;
    const step = strides.get(name)!;
    const next = new Float64Array(places.length * size);
    places.forEach((place, i) => {
      for (let j = 0; j < size; j++) next[i * size + j] = place + j * step;
    });
    return next;
  }, new Float64Array(1));
}
