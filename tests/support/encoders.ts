/**
 * Encoders of small floats, written from the formats' definitions by search for the nearest value: what the runtime decodes
 * is held against what these say that the stored bytes mean.
 */

export interface Encoded {
  /** Bytes or factors of each part, in the encoding's order. */
  readonly codes: Uint8Array;
  readonly scales: Uint8Array | Float32Array;
  /** What is stored, exactly. */
  readonly values: Float32Array;
}

/** The positive values, by their codes. Of E4M3 all ones is no number. */
const E2M1 = Array.from({ length: 8 }, (_, code) => float(code, 1, 1));
const E4M3 = Array.from({ length: 127 }, (_, code) => float(code, 3, 7));

/** OCP MXFP4: 32 values of E2M1 with a power of two, two to a byte, the first in the low half. */
export function encodeMxfp4(values: Float32Array): Encoded {
  const codes = new Uint8Array(values.length / 2);
  const scales = new Uint8Array(values.length / 32);
  const stored = new Float32Array(values.length);
  for (let block = 0; block < scales.length; block++) {
    const most = Math.max(...values.subarray(block * 32, block * 32 + 32).map(Math.abs));
    // The largest is below 8 of the scale, and 6 is the largest code.
    const exponent = most === 0 ? 0 : Math.floor(Math.log2(most)) - 2;
    scales[block] = exponent + 127;
    for (let i = block * 32; i < block * 32 + 32; i++) {
      const { code, value } = nearest(values[i]! / 2 ** exponent, E2M1);
      const sign = Object.is(Math.sign(values[i]!), -0) || values[i]! < 0;
      codes[i >> 1]! |= (code + (sign ? 8 : 0)) << (i % 2 === 0 ? 0 : 4);
      stored[i] = (sign ? -value : value) * 2 ** exponent;
    }
  }
  return { codes, scales, values: stored };
}

/** E4M3 in blocks of 128 by 128 of a matrix, each with a factor that makes its largest value 448. `factor` says how one is stored. */
export function encodeFp8(
  values: Float32Array,
  [rows, columns]: readonly [number, number],
  factor: (x: number) => number = Math.fround,
): Encoded {
  const across = Math.ceil(columns / 128);
  const scales = new Float32Array(Math.ceil(rows / 128) * across);
  values.forEach((x, i) => {
    const block = Math.floor(i / columns / 128) * across + Math.floor((i % columns) / 128);
    scales[block] = Math.max(scales[block]!, Math.abs(x) / 448);
  });
  scales.forEach((x, i) => (scales[i] = x === 0 ? 1 : factor(x)));
  const codes = new Uint8Array(values.length);
  const stored = values.map((x, i) => {
    const scale = scales[Math.floor(i / columns / 128) * across + Math.floor((i % columns) / 128)]!;
    const { code, value } = nearest(x / scale, E4M3);
    codes[i] = code + (x < 0 ? 128 : 0);
    return Math.sign(x) * Math.fround(value * scale);
  });
  return { codes, scales, values: stored };
}

/** A positive float with so many bits of fraction and this bias of its exponent. */
function float(code: number, fractions: number, bias: number): number {
  const [exponent, fraction] = [code >> fractions, code & ((1 << fractions) - 1)];
  const lead = exponent === 0 ? 0 : 1;
  return (lead + fraction / (1 << fractions)) * 2 ** (Math.max(exponent, 1) - bias);
}

/** Of values in ascending order. */
function nearest(x: number, values: readonly number[]): { code: number; value: number } {
  const most = Math.abs(x);
  const above = values.findIndex((value) => value >= most);
  const [a, b] = [above < 0 ? values.length - 1 : above, Math.max(0, (above < 0 ? values.length : above) - 1)];
  const code = Math.abs(values[b]! - most) <= Math.abs(values[a]! - most) ? b : a;
  return { code, value: values[code]! };
}
