/** Strided views, against the definition: element i of a piece lies at source + Σ index · stride. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Piece } from "../../../compiler/index.ts";
import { gather, isContiguous, offsetOf, runWithin, scatter, windowOf } from "../../../runtime/checkpoint/strided.ts";

/** A tensor of a random shape and a piece that is a transposed box in it. */
const cases = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    fc.array(fc.nat(), { minLength: 4, maxLength: 4 }),
    fc.infiniteStream(fc.nat(100)),
  )
  .map(([shape, order, numbers]) => {
    const next = (most: number): number => numbers.next().value! % (most + 1);
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
    const first = shape.map((size) => next(size - 1));
    const axes = shape.map((_, i) => i).sort((a, b) => order[a]! - order[b]!);
    const piece: Piece = {
      path: "p",
      target: 0,
      sizes: axes.map((i) => 1 + next(shape[i]! - 1 - first[i]!)),
      strides: axes.map((i) => strides[i]!),
      source: first.reduce((sum, x, i) => sum + x * strides[i]!, 0),
    };
    const total = shape.reduce((a, b) => a * b, 1);
    const count = piece.sizes.reduce((a, b) => a * b, 1);
    const [runStart, windowStart] = [next(count - 1), next(total - 1)];
    const run = { start: runStart, length: 1 + next(count - 1 - runStart) };
    return { piece, total, count, run, window: { start: windowStart, length: 1 + next(total - 1 - windowStart) } };
  });

const within = ({ start, length }: { start: number; length: number }, x: number): boolean =>
  x >= start && x < start + length;

const range = ({ start, length }: { start: number; length: number }): number[] =>
  Array.from({ length }, (_, i) => start + i);

test("what is gathered from a window are the run's elements that lie in it", () => {
  fc.assert(
    fc.property(cases, ({ piece, run, window }) => {
      const out = new Uint16Array(run.length);
      const values = Uint16Array.from(range(window), (x) => x + 1);
      gather(new Uint8Array(values.buffer), 2, piece, run, window, new Uint8Array(out.buffer));
      const expected = range(run).map((i) => {
        const offset = offsetOf(piece, i);
        return within(window, offset) ? offset + 1 : 0;
      });
      expect([...out]).toEqual(expected);
    }),
  );
});

test("scattering what was gathered restores the window, and touches nothing else", () => {
  fc.assert(
    fc.property(cases, ({ piece, run, window }) => {
      const out = new Uint32Array(window.length);
      const values = Uint32Array.from(range(run), (i) => i + 1);
      scatter(new Uint8Array(values.buffer), 4, piece, run, window, new Uint8Array(out.buffer));
      const expected = range(window).map((x) => range(run).findIndex((i) => offsetOf(piece, i) === x));
      expect([...out]).toEqual(expected.map((at) => (at < 0 ? 0 : run.start + at + 1)));
    }),
  );
});

test("windows and runs cover what they are for", () => {
  fc.assert(
    fc.property(cases, ({ piece, count, run, window }) => {
      const whole = windowOf(piece, run);
      for (const i of range(run)) expect(within(whole, offsetOf(piece, i))).toBe(true);
      const part = runWithin(piece, window);
      for (let i = 0; i < count; i++) if (within(window, offsetOf(piece, i))) expect(within(part, i)).toBe(true);
      const offsets = range({ start: 0, length: count }).map((i) => offsetOf(piece, i));
      expect(isContiguous(piece)).toBe(offsets.every((x, i) => x === offsets[0]! + i));
    }),
  );
});

test("of transposed experts one after the other, a window needs its own only", () => {
  const piece: Piece = { path: "p", target: 0, sizes: [3, 4, 5], strides: [20, 1, 4], source: 7 };
  expect(runWithin(piece, { start: 7 + 20 + 3, length: 10 })).toEqual({ start: 20, length: 20 });
  expect(runWithin(piece, { start: 7 + 20 + 3, length: 20 })).toEqual({ start: 20, length: 40 });
  expect(runWithin(piece, { start: 67, length: 9 }).length).toBe(0);
});
