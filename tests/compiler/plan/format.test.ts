/** The rows of number formats: what they hold, how far it is from the numbers that were given, and that it is told. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../../compiler/plan/encode.ts";
import { FORMATS, WEIGHT_FORMATS } from "../../../compiler/plan/format.ts";

/** A matrix [k, columns] of numbers that are no denormals of f32, scaled by a power of two. */
const matrices = fc
  .tuple(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: -12, max: 12 }))
  .chain(([k, columns, power]) =>
    fc
      .array(fc.float({ min: Math.fround(-4), max: 4, noNaN: true }), {
        minLength: k * columns,
        maxLength: k * columns,
      })
      .map((values) => ({
        columns,
        values: Float32Array.from(values, (x) => (Math.abs(x) < 2 ** -20 ? 0 : x * 2 ** power)),
      })),
  );

describe.each(WEIGHT_FORMATS)("%s", (name) => {
  const format = FORMATS[name];
  const size = format.block?.size ?? 1;

  test("holds each number within the error that the row states", () => {
    fc.assert(
      fc.property(matrices, ({ columns, values: drawn }) => {
        const values = drawn.map((x) => Math.max(-format.largest, Math.min(format.largest, x)));
        const held = decode(format, encode(format, values, columns), columns);
        for (let k = 0; k * columns < values.length; k++)
          for (let n = 0; n < columns; n++) {
            const first = k - (k % size);
            let largest = 0;
            for (let i = first; i < first + size && i * columns < values.length; i++)
              largest = Math.max(largest, Math.abs(values[i * columns + n]!));
            const allowed = format.error * Math.max(largest, format.least);
            expect(Math.abs(held[k * columns + n]! - values[k * columns + n]!)).toBeLessThanOrEqual(allowed);
          }
      }),
    );
  });

  test("holds zeros, its largest number and what it holds as they are", () => {
    const { largest } = format;
    const values = Float32Array.of(0, largest, -largest, ...new Float32Array(2 * size));
    const once = decode(format, encode(format, values, 1), 1);
    for (const [i, x] of values.entries()) expect(Math.abs(once[i]! - x)).toBeLessThanOrEqual(1e-6 * Math.abs(x));
    expect(decode(format, encode(format, once, 1), 1)).toEqual(once);
  });
});
