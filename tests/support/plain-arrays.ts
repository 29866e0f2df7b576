/** Arrays of a recipe in plain loops: each operation makes a whole new one. */
import { fillInit } from "../../compiler/language/model/init.ts";
import type { Init } from "../../compiler/language/interpret/value.ts";
import { drawIndices } from "../../compiler/weights/upcycle/cluster.ts";

/** Row-major. */
export interface Plain {
  readonly sizes: readonly number[];
  readonly data: Float64Array;
}

/** What is asked of an expression: an array with these axes, for a path below the left side. A size of null is open. */
export interface Wanted {
  readonly path: string;
  readonly relative: string;
  /** Which of its bank's arrays, as drawing counts them. */
  readonly ordinal: number;
  readonly names: readonly string[];
  readonly sizes: readonly (number | null)[];
  /** In a default rule what does not fit is no counterpart. */
  readonly partial: boolean;
}

export function draw(init: Init, { path, ordinal, sizes }: Pick<Wanted, "path" | "ordinal" | "sizes">): Plain {
  const data = new Float64Array(count(sizes as readonly number[]));
  fillInit(init, path, ordinal * data.length, data);
  return { sizes: sizes as readonly number[], data };
}

export const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
export const count = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

export function mapEach(arrays: readonly (Plain | null)[], f: (xs: readonly number[]) => number): Plain | null {
  if (arrays.includes(null) || arrays.length === 0) return null;
  const all = arrays as readonly Plain[];
  return { sizes: all[0]!.sizes, data: all[0]!.data.map((_, i) => f(all.map((a) => a.data[i]!))) };
}

/** Index i along an axis is what was at `from(i)`; 0 where that is null. */
export function pick(
  x: Plain | null,
  axis: number,
  from: (i: number) => number | null,
  size: number | undefined,
): Plain | null {
  if (x === null) return null;
  const [outer, old, inner] = [count(x.sizes.slice(0, axis)), x.sizes[axis]!, count(x.sizes.slice(axis + 1))];
  const data = new Float64Array(outer * size! * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < size!; i++)
      for (let k = 0; k < inner; k++) {
        const at = from(i);
        data[(o * size! + i) * inner + k] = at === null ? 0 : x.data[(o * old + at) * inner + k]!;
      }
  return { sizes: x.sizes.toSpliced(axis, 1, size!), data };
}

export function join(parts: readonly (Plain | null)[], axis: number): Plain | null {
  if (parts.includes(null)) return null;
  return (parts as readonly Plain[]).reduce((a, b) => {
    const [first, size] = [a.sizes[axis]!, a.sizes[axis]! + b.sizes[axis]!];
    const [left, right] = [
      pick(a, axis, (i) => (i < first ? i : null), size)!,
      pick(b, axis, (i) => (i < first ? null : i - first), size)!,
    ];
    return mapEach([left, right], ([x, y]) => x! + y!)!;
  });
}

export function onArc(a: Plain | null, b: Plain | null, t: number): Plain | null {
  if (a === null || b === null) return null;
  const dot = (x: Plain, y: Plain): number => x.data.reduce((total, v, i) => total + v * y.data[i]!, 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  // Where they point the same way, as all vectors of one element do, it is a line.
  if (!(Math.abs(cosine) <= 0.9995)) return mapEach([a, b], ([x, y]) => (1 - t) * x! + t * y!);
  const angle = Math.acos(cosine);
  return mapEach([a, b], ([x, y]) => (Math.sin((1 - t) * angle) * x! + Math.sin(t * angle) * y!) / Math.sin(angle));
}

/** The largest share of magnitudes, as float32 has them; of equal ones the first. */
export function trimmed(x: Plain | null, density: number): Plain | null {
  if (x === null) return null;
  const size = (i: number): number => Math.fround(Math.abs(x.data[i]!));
  const order = [...x.data.keys()].sort((i, j) => size(j) - size(i) || i - j);
  const kept = new Set(order.slice(0, Math.floor(density * order.length)));
  return { ...x, data: x.data.map((v, i) => (kept.has(i) ? v : 0)) };
}

/** A random share of the elements, scaled so that Σ|x| stays. Draws are from -1 to 1. */
export function thinned(x: Plain | null, density: number, seed: number, wanted: Wanted, member: string): Plain | null {
  if (x === null || density === 1) return x;
  const draws = draw(
    { kind: "uniform", bound: 1, seed },
    { ...wanted, path: `${wanted.path} kept ${member}`, sizes: x.sizes },
  );
  const kept = mapEach([x, draws], ([v, d]) => (d! < 2 * density - 1 ? v! : 0))!;
  const [all, rest] = [x, kept].map((p) => sum([...p.data].map(Math.abs)));
  return mapEach([kept], ([v]) => (rest === 0 ? 0 : (v! * all!) / rest!));
}

/** Along an axis a share of the indices anew, normal with mean and deviation of all that they had. */
export function redrawn(
  x: Plain | null,
  axis: number,
  share: number,
  seed: number,
  key: string,
  wanted: Wanted,
): Plain | null {
  if (x === null) return null;
  const size = x.sizes[axis]!;
  const chosen = new Set(drawIndices(size, seed, key).slice(0, Math.round(share * size)));
  const inner = count(x.sizes.slice(axis + 1));
  const isChosen = (_: number, i: number): boolean => chosen.has(Math.floor(i / inner) % size);
  const old = [...x.data].filter(isChosen);
  const mean = sum(old) / old.length;
  const deviation = Math.sqrt(sum(old.map((v) => (v - mean) ** 2)) / old.length);
  const fresh = draw({ kind: "normal", std: 1, seed }, { ...wanted, sizes: x.sizes }).data;
  return { ...x, data: x.data.map((v, i) => (isChosen(v, i) ? mean + deviation * fresh[i]! : v)) };
}
