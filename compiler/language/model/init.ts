/**
 * Fresh parameters. Values depend only on the initialiser's seed and the parameter's path, not on the order of work, so
 * the same plan gives the same bits anywhere. Generator: xoshiro128** seeded by FNV-1a and SplitMix32; normals by
 * Box-Muller in float64.
 */
import type { Init } from "../interpret/value.ts";

/** Fills `out` with elements `start ..< start + out.length` of the parameter; any split into runs gives the same values. */
export function fillInit(init: Init, path: string, start: number, out: Float32Array | Float64Array): void {
  openInit(init, path)(start, out);
}

/** `fillInit` for many runs of one parameter: what a run shares with the one before is made once. */
export function openInit(init: Init, path: string): (start: number, out: Float32Array | Float64Array) => void {
  switch (init.kind) {
    case "zeros":
      return (_, out) => void out.fill(0);
    case "ones":
      return (_, out) => void out.fill(1);
    case "constant":
      return (_, out) => void out.fill(init.value);
    case "normal":
    case "uniform": {
      const seed = hash(`${init.seed ?? 0}:${path}`);
      const factor = init.kind === "normal" ? init.std : init.bound;
      let known = -1;
      let values: Float64Array = new Float64Array(0);
      return (start, out) => {
        let i = 0;
        while (i < out.length) {
          const block = Math.floor((start + i) / BLOCK);
          if (block !== known) values = randomBlock(seed, block, init.kind === "normal");
          known = block;
          for (let j = (start + i) % BLOCK; j < BLOCK && i < out.length; j++, i++) out[i] = values[j]! * factor;
        }
      };
    }
    default:
      return init satisfies never;
  }
}

/** Values come in blocks so that a run may begin anywhere. */
const BLOCK = 1024;

function randomBlock(seed: number, block: number, normal: boolean): Float64Array {
  const next = generator((seed ^ Math.imul(block + 1, 0x9e3779b1)) >>> 0);
  const values = new Float64Array(BLOCK);
  for (let i = 0; i < BLOCK; i += 2) {
    const [u, v] = [(next() + 0.5) / 2 ** 32, (next() + 0.5) / 2 ** 32];
    const radius = normal ? Math.sqrt(-2 * Math.log(u)) : 0;
    values[i] = normal ? radius * Math.cos(2 * Math.PI * v) : 2 * u - 1;
    values[i + 1] = normal ? radius * Math.sin(2 * Math.PI * v) : 2 * v - 1;
  }
  return values;
}

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

function generator(seed: number): () => number {
  let s = seed;
  const split = (): number => {
    s = (s + 0x9e3779b9) >>> 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let [a, b, c, d] = [split(), split(), split(), split()];
  const rotate = (x: number, k: number): number => ((x << k) | (x >>> (32 - k))) >>> 0;
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5) >>> 0, 7), 9) >>> 0;
    const t = (b << 9) >>> 0;
    c = (c ^ a) >>> 0;
    d = (d ^ b) >>> 0;
    b = (b ^ c) >>> 0;
    a = (a ^ d) >>> 0;
    c = (c ^ t) >>> 0;
    d = rotate(d, 11);
    return result;
  };
}
