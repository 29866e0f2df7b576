/**
 * Two checkpoints, parameter by parameter: both are read through their maps, so that names and layouts of tensors do not
 * matter, only what the model has at a path. Streams: a piece of one parameter of each is held at a time. Sums in float64.
 */
import { ELEMENTS, elementBytes } from "../checkpoint/element-type.ts";
import { checkOption, needed, object } from "../../grammar/option.ts";
import { toFloat32 } from "../checkpoint/data-type.ts";
import type { LoadedModel } from "../model/model.ts";

export interface Shape {
  readonly dtype: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
}

/** How the values at one path, or of several, differ. */
export interface Difference {
  /** The greatest |a - b|; NaN where a value is not a number. */
  readonly largest: number;
  /** |a - b| / |a| by the Euclidean norm; infinite where a is 0 and b is not. */
  readonly relative: number;
  /** Of the angle between a and b; 1 where both are 0. */
  readonly cosine: number;
}

export interface Compared {
  readonly path: string;
  /** Null: it has no such parameter. */
  readonly a: Shape | null;
  readonly b: Shape | null;
  /** Null where there is nothing to compare: one lacks it, or the sizes differ. */
  readonly difference: Difference | null;
  /** As `difference`, before it is summed up. */
  readonly sums: Sums;
  /** Neither dtypes, nor sizes, nor values. */
  readonly isSame: boolean;
}

export interface Sums {
  largest: number;
  difference: number;
  a: number;
  b: number;
  product: number;
}

/** Elements that are read at a time. */
const PIECE = 1 << 20;

/** All paths of either, in the order of the first. */
export async function* compareModels(a: LoadedModel, b: LoadedModel): AsyncGenerator<Compared> {
  for (const [name, value] of Object.entries({ a, b }))
    checkOption("compareModels", name, value, needed(object("a model, of `loadModel`", "model", "source")));
  const [ours, theirs] = [a, b].map(({ model }) => new Map(model.parameters.map((p) => [p.path, p])));
  for (const path of new Set([...ours!.keys(), ...theirs!.keys()])) {
    const shapes = [
      [a, ours!],
      [b, theirs!],
    ] as const;
    const [x, y] = shapes.map(([{ source }, all]): Shape | null => {
      const found = all.get(path);
      return found === undefined ? null : { dtype: source.storage(path), axes: found.axes };
    });
    const sums = emptySums();
    const isComparable = x != null && y != null && sizesOf(x) === sizesOf(y);
    if (isComparable) await addPath(a, b, path, x, sums);
    const difference = isComparable ? summarise(sums) : null;
    // Only equal values have no difference at all; NaN has one.
    const isSame = difference !== null && x!.dtype === y!.dtype && difference.largest === 0;
    yield { path, a: x!, b: y!, difference, sums, isSame };
  }
}

export const emptySums = (): Sums => ({ largest: 0, difference: 0, a: 0, b: 0, product: 0 });

export function addSums(into: Sums, from: Sums): void {
  into.largest = greater(into.largest, from.largest);
  into.difference += from.difference;
  into.a += from.a;
  into.b += from.b;
  into.product += from.product;
}

export function summarise({ largest, difference, a, b, product }: Sums): Difference {
  const norms = Math.sqrt(a) * Math.sqrt(b);
  const bothZero = a === 0 && b === 0;
  return {
    largest,
    relative: difference === 0 ? 0 : Math.sqrt(difference / a),
    cosine: bothZero ? 1 : norms === 0 ? 0 : Math.max(-1, Math.min(1, product / norms)),
  };
}

async function addPath(a: LoadedModel, b: LoadedModel, path: string, { axes }: Shape, sums: Sums): Promise<void> {
  const count = axes.reduce((n, axis) => n * axis.size, 1);
  for (let at = 0; at < count; at += PIECE) {
    const length = Math.min(PIECE, count - at);
    const [x, y] = await Promise.all([a, b].map((model) => readValues(model, path, at, length)));
    addSums(sums, sumUp(x!, y!));
  }
}

async function readValues({ source }: LoadedModel, path: string, at: number, length: number): Promise<Float32Array> {
  const storage = source.storage(path);
  const bytes = await source.read(path, at, length);
  return toFloat32(ELEMENTS[storage].dtype, bytes.subarray(0, length * elementBytes(storage)));
}

function sumUp(x: Float32Array, y: Float32Array): Sums {
  let [largest, difference, a, b, product] = [0, 0, 0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [p, q] = [x[i]!, y[i]!];
    const d = p - q;
    if (!(Math.abs(d) <= largest)) largest = greater(largest, Math.abs(d));
    difference += d * d;
    a += p * p;
    b += q * q;
    product += p * q;
  }
  return { largest, difference, a, b, product };
}

/** NaN is greater than all. */
const greater = (a: number, b: number): number => (Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.max(a, b));

const sizesOf = ({ axes }: Shape): string => axes.map((axis) => axis.size).join();
