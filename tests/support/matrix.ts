/**
 * Weights as a Plan lays them out, element by element from the words of `compiler/plan/layout.ts`, for every format of the table; and the
 * numbers that a format keeps, so that a CPU computation can use the same values.
 */
import { decode, encode } from "../../compiler/plan/encode.ts";
import { type Format, FORMATS, type WeightFormat } from "../../compiler/plan/format.ts";

/** `values` [banks][k][n] as `storage` keeps them: what shares a scale is along k. */
export function roundMatrix(
  values: Float32Array,
  banks: number,
  k: number,
  n: number,
  storage: WeightFormat,
): Float32Array {
  const format = FORMATS[storage];
  const out = new Float32Array(values.length);
  for (let b = 0; b < banks; b++) {
    const bank = values.slice(b * k * n, (b + 1) * k * n);
    out.set(decode(format, encode(format, bank, n), n), b * k * n);
  }
  return out;
}

/** `values` [banks][k][n] in the `matrix` layout. */
export function packMatrix(
  values: ArrayLike<number>,
  banks: number,
  k: number,
  n: number,
  storage: WeightFormat,
): Uint32Array {
  return lay(FORMATS[storage], Float32Array.from(values), banks, k, n);
}

/** `values` as a plain array. */
export function packArray(values: ArrayLike<number>, storage: WeightFormat): Uint32Array {
  const format = FORMATS[storage];
  const { codes, scales } = encode(format, Float32Array.from(values), 1);
  const words = place(format, codes.length, (put) => codes.forEach((code, i) => put(i, code)));
  if (scales === null) return words;
  const { scales: kept } = format.block!;
  return join(
    words,
    place(kept, scales.length, (put) => kept.narrow(scales).forEach((code, i) => put(i, code))),
  );
}

function lay(format: Format, values: Float32Array, banks: number, k: number, n: number): Uint32Array {
  const rows = Math.min(4, 32 / format.bits);
  const [k4, n4] = [Math.ceil(k / 4) * 4, Math.ceil(n / 4) * 4];
  const blocks = format.block === null ? 0 : Math.ceil(k / format.block.size);
  const scales = new Float32Array(banks * blocks * n);
  const words = place(format, banks * k4 * n4, (put) => {
    for (let b = 0; b < banks; b++) {
      const made = encode(format, values.slice(b * k * n, (b + 1) * k * n), n);
      if (made.scales !== null) scales.set(made.scales, b * blocks * n);
      for (let i = 0; i < k; i++)
        for (let j = 0; j < n; j++) {
          const group = (b * (k4 / rows) + Math.floor(i / rows)) * n4 + j;
          put(group * rows + (i % rows), made.codes[i * n + j]!);
        }
    }
  });
  return format.block === null ? words : join(words, lay(format.block.scales, scales, banks, blocks, n));
}

/** Codes by the numbers of their elements, up to whole ones of 16 bytes. */
function place(
  { bits }: Format,
  elements: number,
  fill: (put: (element: number, code: number) => void) => void,
): Uint32Array {
  const words = new Uint32Array(Math.ceil((elements * bits) / 128) * 4);
  fill((element, code) => {
    const bit = element * bits;
    const word = Math.floor(bit / 32);
    words[word] = words[word]! | (code << (bit % 32));
  });
  return words;
}

function join(a: Uint32Array, b: Uint32Array): Uint32Array {
  const out = new Uint32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
