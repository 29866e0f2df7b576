import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Dim } from "../../../compiler/graph/dim.ts";
import { parseDim } from "../../../compiler/graph/parse.ts";

const symbols = ["A", "B", "T"] as const;
const values = { A: 3, B: 5, T: 7 };

/** A monomial with a rational coefficient: what a size can be divided by. */
const monomial: fc.Arbitrary<Dim> = fc
  .tuple(
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 6 }),
    fc.array(fc.constantFrom(...symbols), { maxLength: 3 }),
  )
  .map(([num, den, names]) => Dim.product([Dim.of(num).over(Dim.of(den))!, ...names.map((n) => Dim.of(n))]));

const dim: fc.Arbitrary<Dim> = fc
  .array(fc.tuple(monomial, fc.boolean()), { maxLength: 4 })
  .map((terms) => terms.reduce((sum, [t, minus]) => (minus ? sum.minus(t) : sum.plus(t)), Dim.of(0)));

const close = (a: number, b: number) =>
  expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(a), Math.abs(b)));

describe("sizes", () => {
  test("compute what their values compute", () => {
    fc.assert(
      fc.property(dim, dim, (a, b) => {
        close(a.plus(b).evaluate(values), a.evaluate(values) + b.evaluate(values));
        close(a.minus(b).evaluate(values), a.evaluate(values) - b.evaluate(values));
        close(a.times(b).evaluate(values), a.evaluate(values) * b.evaluate(values));
      }),
    );
  });

  test("have one key for equal polynomials", () => {
    fc.assert(
      fc.property(dim, dim, dim, (a, b, c) => {
        expect(a.plus(b).key).toBe(b.plus(a).key);
        expect(a.times(b).key).toBe(b.times(a).key);
        expect(a.times(b.plus(c)).key).toBe(a.times(b).plus(a.times(c)).key);
        expect(a.minus(a).key).toBe("0");
      }),
    );
  });

  test("divide back to what was multiplied", () => {
    fc.assert(
      fc.property(dim, monomial, (a, m) => {
        expect(a.times(m).over(m)?.key).toBe(a.key);
      }),
    );
  });

  test("substitute as evaluation does", () => {
    fc.assert(
      fc.property(dim, monomial, (a, m) => {
        const replaced = a.substitute((s) => (s === "A" ? m : null));
        close(replaced.evaluate(values), a.evaluate({ ...values, A: m.evaluate(values) }));
      }),
    );
  });

  test("are read back from their keys", () => {
    fc.assert(
      fc.property(dim, monomial, (a, m) => {
        expect(parseDim(a.over(m)!.key).key).toBe(a.over(m)!.key);
      }),
    );
  });

  test("know their number exactly when no symbol is left", () => {
    fc.assert(
      fc.property(dim, (a) => {
        expect(a.value === null).toBe(a.symbols.length > 0);
      }),
    );
  });

  test("have no quotient by a sum or by zero", () => {
    expect(Dim.of("A").over(Dim.of("A").plus(Dim.of(1)))).toBeNull();
    expect(Dim.of("A").over(Dim.of(0))).toBeNull();
  });

  test("refuse to be evaluated without a value for a symbol", () => {
    expect(() => Dim.of("Z").evaluate(values)).toThrow("Z");
  });
});
