/**
 * What inputs and parameters of a random program hold: decided by name, kind and sequence, so that a program's text says all. Floats are
 * few bits, which every storage type keeps and sums of which float32 has exactly. Integers of inputs are below `INDICES`.
 */
import type { TensorType } from "../../../compiler/graph/type.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import { Draw } from "../../support/random-models.ts";

export const kinds = ["usual", "ties", "extreme"] as const;

/** `ties`: small whole numbers, most of them equal. `extreme`: zeros, tiny and large numbers in every other tensor. */
export type Kind = (typeof kinds)[number];

/** Whole numbers in inputs are below this. */
export const INDICES = 4;

export function drawValue(
  name: string,
  type: TensorType,
  sizes: Readonly<Record<string, number>>,
  kind: Kind,
  sequence = 0,
): Value {
  const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate(sizes) }));
  const seed = [...name].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, 7 + sequence);
  const draw = new Draw(seed);
  const one = type.dtype === "f32" ? floats[kind === "extreme" && seed % 2 === 0 ? "usual" : kind] : whole;
  const count = axes.reduce((n, a) => n * a.size, 1);
  return { axes, data: Float64Array.from({ length: count }, () => one(draw)) };
}

const whole = (draw: Draw): number => draw.below(INDICES);

const floats: Readonly<Record<Kind, (draw: Draw) => number>> = {
  usual: (draw) => (draw.below(97) - 48) / 32,
  ties: (draw) => draw.of([0, 0, 0, 1, 1, -1, 2]),
  extreme: (draw) => draw.of([0, 0, 1, -1, 9984, -9984, 1 / 128, -0.5]),
};
