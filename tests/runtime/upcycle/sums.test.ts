/** The vector loops give the bits of the plain ones, whatever the values and wherever the elements lie. */
import { describe, expect, test } from "vitest";
import { fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { elementBytes, ELEMENT_TYPES, ELEMENTS, type ElementType } from "../../../runtime/checkpoint/element-type.ts";
import { BLOCK, Lane } from "../../../runtime/upcycle/lane.ts";

/** A plain generator: the same bits each time. */
function randomBits(count: number, seed: number): Uint32Array {
  const out = new Uint32Array(count);
  for (let i = 0, x = seed; i < count; i++) out[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return out;
}

const COUNTS = [1, 7, 8, 9, 64, 1001, BLOCK];

/** Any bits at all: subnormals, infinities and NaN among them. */
function fill(dtype: ElementType, bytes: Uint8Array, seed: number): Float32Array {
  // Upper bytes of the generator's words: the lower ones repeat soon.
  const width = elementBytes(dtype);
  const bits = new Uint8Array(randomBits(bytes.byteLength / width, seed).buffer);
  bytes.set(bits.filter((_, i) => i % 4 >= 4 - width));
  return toFloat32(ELEMENTS[dtype].dtype, bytes.slice());
}

describe.each(ELEMENT_TYPES)("%s", (dtype) => {
  test.each(COUNTS)("%i elements are summed and rounded as one by one", (count) => {
    const lane = new Lane(1 << 17);
    const width = elementBytes(dtype);
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
    const rounded = fromFloat32(ELEMENTS[dtype].dtype, expected);
    const stored = out.slice(2 * width, (count + 2) * width);
    const isNumber = (_: number, byte: number): boolean => !Number.isNaN(expected[Math.floor(byte / width)]);
    // Which NaN it is that a sum gives is the machine's affair.
    expect([...stored].filter(isNumber)).toEqual([...rounded].filter(isNumber));
    const wide = toFloat32(ELEMENTS[dtype].dtype, stored);
    expect([...wide].map(Number.isNaN)).toEqual([...expected].map(Number.isNaN));
    expect([...out.slice(0, 2 * width), ...out.slice((count + 2) * width)].every((byte) => byte === 0xaa)).toBe(true);
  });
});
