/** The vector loops give the bits of the plain ones, whatever the values and wherever the elements lie. */
import { describe, expect, test } from "vitest";
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "../../../runtime/checkpoint/half.ts";
import { BLOCK, Lane } from "../../../runtime/upcycle/lane.ts";

/** A plain generator: the same bits each time. */
function randomBits(count: number, seed: number): Uint32Array {
  const out = new Uint32Array(count);
  for (let i = 0, x = seed; i < count; i++) out[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return out;
}

const COUNTS = [1, 7, 8, 9, 64, 1001, BLOCK];
const dtypes = ["f32", "f16", "bf16"] as const;

/** Any bits at all: subnormals, infinities and NaN among them. */
function fill(dtype: (typeof dtypes)[number], bytes: Uint8Array, seed: number): Float32Array {
  const count = bytes.byteLength / (dtype === "f32" ? 4 : 2);
  const bits = randomBits(count, seed);
  if (dtype === "f32") {
    const values = new Float32Array(bytes.buffer, bytes.byteOffset, count);
    new Uint32Array(bytes.buffer, bytes.byteOffset, count).set(bits);
    return values.slice();
  }
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  halves.set(bits.map((x) => x >>> 16));
  return (dtype === "bf16" ? widenBf16 : widenF16)(halves);
}

describe.each(dtypes)("%s", (dtype) => {
  test.each(COUNTS)("%i elements are summed and rounded as one by one", (count) => {
    const lane = new Lane(1 << 17);
    const width = dtype === "f32" ? 4 : 2;
    // Three elements in front, so that nothing is aligned.
    const sources = [1, 2, 3].map((seed) => {
      const bytes = lane.take((count + 3) * width);
      return { bytes, values: fill(dtype, bytes, seed).subarray(3) };
    });
    const weights = [0.25, -1.5, 1 / 3];
    const sum = lane.sum(
      sources.map(
        ({ bytes }, i) =>
          (at, block) =>
            lane.add(dtype, bytes, at + 3, weights[i]!, block),
      ),
      0,
      count,
    );
    const expected = new Float32Array(count);
    for (const [i, { values }] of sources.entries())
      for (let j = 0; j < count; j++)
        expected[j] = Math.fround(expected[j]! + Math.fround(Math.fround(weights[i]!) * values[j]!));
    expect(sum).toEqual(expected);

    const out = lane.take((count + 4) * width).fill(0xaa);
    lane.store(dtype, sum, out, 2);
    const rounded = dtype === "f32" ? expected : (dtype === "bf16" ? narrowBf16 : narrowF16)(expected);
    const stored = out.slice(2 * width, (count + 2) * width);
    const isNaN = expected.map((x) => Number(Number.isNaN(x)));
    const found = dtype === "f32" ? new Float32Array(stored.buffer) : new Uint16Array(stored.buffer);
    // Which NaN it is that a sum gives is the machine's affair.
    expect([...found].filter((_, i) => isNaN[i] === 0)).toEqual([...rounded].filter((_, i) => isNaN[i] === 0));
    const wide = dtype === "f32" ? found : (dtype === "bf16" ? widenBf16 : widenF16)(found as Uint16Array);
    expect([...wide].map((x) => Number(Number.isNaN(x)))).toEqual([...isNaN]);
    expect([...out.slice(0, 2 * width), ...out.slice((count + 2) * width)].every((byte) => byte === 0xaa)).toBe(true);
  });
});
