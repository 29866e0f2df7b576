import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { narrowBf16, narrowF16, widenBf16, widenF16 } from "../../../compiler/plan/half.ts";

const formats = [
  { name: "f16", widen: widenF16, narrow: narrowF16, infinity: 0x7c00, one: 0x3c00, least: 2 ** -24, greatest: 65504 },
  {
    name: "bf16",
    widen: widenBf16,
    narrow: narrowBf16,
    infinity: 0x7f80,
    one: 0x3f80,
    least: 2 ** -133,
    greatest: 255 * 2 ** 120,
  },
];

describe.each(formats)("$name", ({ widen, narrow, infinity, one, least, greatest }) => {
  const widenOne = (bits: number): number => widen(Uint16Array.of(bits))[0]!;
  const narrowOne = (value: number): number => narrow(Float32Array.of(value))[0]!;
  const every = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
  const isNaNBits = (bits: number): boolean => (bits & 0x7fff) > infinity;

  test("known values have their published bits", () => {
    expect(widenOne(one)).toBe(1);
    expect(widenOne(1)).toBe(least);
    expect(widenOne(infinity - 1)).toBe(greatest);
    expect(widenOne(infinity)).toBe(Infinity);
    expect(widenOne(0x8000 | infinity)).toBe(-Infinity);
    expect(widenOne(0x8000)).toBe(-0);
  });

  test("each of the 65536 patterns survives widening and narrowing, and a NaN stays one", () => {
    const back = narrow(widen(every));
    for (const bits of every) {
      if (isNaNBits(bits)) expect(isNaNBits(back[bits]!)).toBe(true);
      else if (back[bits] !== bits) expect(back[bits]).toBe(bits);
    }
    expect(isNaNBits(narrow(new Float32Array(Uint32Array.of(0x7f800001).buffer))[0]!)).toBe(true);
  });

  test("values grow with their patterns", () => {
    const values = widen(every.subarray(0, infinity + 1));
    expect(values.every((value, i) => i === 0 || value > values[i - 1]!)).toBe(true);
  });

  test("a number half-way between two neighbours goes to the even one, and one a little off goes to the nearer", () => {
    for (let bits = 0; bits < infinity - 1; bits++) {
      const [low, high] = [widenOne(bits), widenOne(bits + 1)];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      // The least bf16 steps have no float32 between them; there is nothing to round.
      if (Math.fround(middle) !== middle || middle === low) continue;
      const got = narrow(Float32Array.of(middle, middle - (high - low) / 8, middle + (high - low) / 8, -middle));
      const expected = [even, bits, bits + 1, even | 0x8000];
      if (expected.some((value, i) => got[i] !== value)) expect([...got]).toEqual(expected);
    }
  });

  test("narrowing picks a nearest representable number", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const bits = narrowOne(value) & 0x7fff;
        const distance = (other: number): number => Math.abs(Math.abs(value) - widenOne(other));
        if (bits === infinity) return Math.abs(value) > greatest;
        return distance(bits) <= distance(Math.max(bits - 1, 0)) && distance(bits) <= distance(bits + 1);
      }),
    );
  });

  test("beyond the greatest number lies infinity, from half a step on", () => {
    const step = greatest - widenOne(infinity - 2);
    expect(narrowOne(Math.fround(greatest + step / 2))).toBe(infinity);
    expect(narrowOne(greatest + step / 4)).toBe(infinity - 1);
    expect(narrowOne(-Infinity)).toBe(0x8000 | infinity);
  });
});
