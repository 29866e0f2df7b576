/** Which sequence comes next: known from the seed and the draw's number, fair to the weights, every sequence once a pass. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { type BatchOptions, openBatches } from "../../../runtime/training/data/batches.ts";
import { bitsAt, placeAt } from "../../../runtime/training/data/counter.ts";
import { Mixture } from "../../../runtime/training/data/mixture.ts";
import { storeOf, stretchOf } from "./support.ts";

const take = (mixture: Mixture, count: number): readonly ReturnType<Mixture["next"]>[] =>
  Array.from({ length: count }, () => mixture.next());

test("changing places is one to one, whatever the count, and differs by seed and pass", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(9), (count, seed, pass) => {
      const places = Array.from({ length: count }, (_, i) => placeAt(i, count, seed, pass));
      expect(places.toSorted((a, b) => a - b)).toEqual(places.map((_, i) => i));
    }),
  );
  const order = (seed: number, pass: number): string =>
    Array.from({ length: 50 }, (_, i) => placeAt(i, 50, seed, pass)).join();
  expect(new Set([order(1, 0), order(2, 0), order(1, 1)]).size).toBe(3);
});

test("seeds and counters beyond 32 bits are different from those below", () => {
  expect(bitsAt(1, "source", 5)).not.toBe(bitsAt(1 + 2 ** 32, "source", 5));
  expect(bitsAt(1, "source", 5)).not.toBe(bitsAt(1, "source", 5 + 2 ** 32));
  expect(bitsAt(1, "source", 5)).not.toBe(bitsAt(1, "shift", 5));
});

describe("a mixture", () => {
  const sources = fc.array(
    fc.record({ weight: fc.double({ min: 0.01, max: 10, noNaN: true }), sequences: fc.integer({ min: 1, max: 20 }) }),
    { minLength: 1, maxLength: 5 },
  );

  test("goes on from any number of draws as if it had drawn them", () => {
    fc.assert(
      fc.property(sources, fc.nat(), fc.nat(200), fc.nat(300), (all, seed, before, elsewhere) => {
        const whole = take(new Mixture(all, seed), before + 20).slice(before);
        const other = new Mixture(all, seed);
        take(other, elsewhere);
        other.seek(before);
        expect(take(other, 20)).toEqual(whole);
        expect(other.state.draws).toBe(before + 20);
        expect(other.state.positions.reduce((a, b) => a + b, 0)).toBe(before + 20);
      }),
    );
  });

  test("gives every sequence of a source once a pass", () => {
    fc.assert(
      fc.property(sources, fc.nat(), (all, seed) => {
        const draws = take(new Mixture(all, seed), 200);
        for (const [source, { sequences }] of all.entries()) {
          const own = draws.filter((d) => d.source === source);
          for (let pass = 0; (pass + 1) * sequences <= own.length; pass++) {
            const seen = own.slice(pass * sequences, (pass + 1) * sequences);
            expect(seen.every((d) => d.pass === pass)).toBe(true);
            expect(new Set(seen.map((d) => d.sequence)).size).toBe(sequences);
          }
        }
      }),
    );
  });

  test("has each source take its turns by the weights, at any moment", () => {
    const weights = [9, 1, 0.5];
    const draws = take(
      new Mixture(
        weights.map((weight) => ({ weight, sequences: 7 })),
        3,
      ),
      2000,
    );
    for (const [i, weight] of weights.entries()) {
      const counts = draws.map((_, n) => draws.slice(0, n + 1).filter((d) => d.source === i).length);
      for (const [n, count] of counts.entries()) expect(Math.abs(count - ((n + 1) * weight) / 10.5)).toBeLessThan(2);
    }
    const alike = [1, 1, 1, 1].map((weight) => ({ weight, sequences: 7 }));
    const orders = [1, 2, 3, 4].map((seed) => take(new Mixture(alike, seed), 8).map((d) => d.source));
    for (const order of orders) expect(order.slice(0, 4).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
    expect(new Set(orders.map((order) => order.join())).size).toBeGreaterThan(1);
  });
});

describe("batches", () => {
  const options: BatchOptions = {
    sources: [
      { name: "a", weight: 2, hash: "1", train: stretchOf([40, 30, 50]), heldOut: stretchOf([30, 7]) },
      { name: "b", weight: 1, hash: "2", train: stretchOf([90], 0, 70), heldOut: stretchOf([90], 70, 90) },
    ],
    context: 8,
    sequences: 3,
    micros: 2,
    seed: 11,
    pack: "joined",
  };

  test("depend on step and micro-batch alone, whatever was asked for before", () => {
    const forward = openBatches(options);
    const all = Array.from({ length: 10 }, (_, i) => forward.next(1 + (i >> 1), i & 1));
    const other = openBatches(options);
    for (const i of [7, 2, 2, 9, 0, 5]) expect(other.next(1 + (i >> 1), i & 1)).toEqual(all[i]);
  });

  test("have the arrays that a micro-batch needs, and say where they are from", () => {
    const { ids, target, counted, source, places } = openBatches(options).next(3, 1);
    expect([ids, target, counted].map((rows) => rows.map((row) => row.length))).toEqual(Array(3).fill([8, 8, 8]));
    places.forEach((place, i) => {
      const found = /^([ab]): document (\d), id (\d+)$/.exec(place)!;
      expect(found[1]).toBe("ab"[source[i]!]);
      const lengths = found[1] === "a" ? [40, 30, 50] : [90];
      expect(storeOf(lengths).starts[Number(found[2]) - 1]! + Number(found[3])).toBe(ids[i]![0]);
    });
  });

  test("never hold what is held out, which is measured as a whole", () => {
    const batches = openBatches(options);
    for (let step = 1; step <= 40; step++)
      batches.next(step, 0).ids.forEach((row, i) => {
        if (batches.next(step, 0).source[i] === 1) expect(Math.max(...row)).toBeLessThan(70);
      });
    const held = [...batches.heldOut(1, 100)];
    expect(held.map(({ ids }) => ids.length)).toEqual([3]);
    expect(held[0]!.ids[0]![0]).toBe(70);
    expect(held.flatMap(({ counted }) => counted).reduce((n, c) => n + c.reduce((a, b) => a + b, 0), 0)).toBe(19);
    expect([...batches.heldOut(0, 2)].flatMap(({ ids }) => ids)).toHaveLength(2);
  });

  test("are the same after a state was kept and restored, by another that was never asked", () => {
    const batches = openBatches(options);
    for (let step = 1; step <= 4; step++) for (const micro of [0, 1]) batches.next(step, micro);
    const kept = JSON.parse(JSON.stringify(batches.state())) as ReturnType<typeof batches.state>;
    const resumed = openBatches(options);
    resumed.restore(kept);
    expect(resumed.state()).toEqual(kept);
    expect(resumed.next(5, 0)).toEqual(batches.next(5, 0));
  });

  const [a, b] = options.sources as [BatchOptions["sources"][number], BatchOptions["sources"][number]];
  test.each([
    ["another file", { ...options, sources: [a, { ...b, hash: "3" }] }, "`b` has other ids"],
    ["another weight", { ...options, sources: [{ ...a, weight: 3 }, b] }, "the weight 2, and has 3"],
    ["another order", { ...options, sources: [b, a] }, "its sources were a, b, and are b, a"],
    ["another seed", { ...options, seed: 12 }, "`seed` was 11, and is 12"],
    ["another length", { ...options, context: 9 }, "`context` was 8, and is 9"],
    ["another packing", { ...options, pack: "documents" }, "`pack` was joined, and is documents"],
    [
      "another split",
      { ...options, sources: [a, { ...b, train: stretchOf([90], 0, 60) }] },
      "70 ids to train on, and has 60",
    ],
  ] as const)("are refused to a state of %s", (_, other, words) => {
    const batches = openBatches(options);
    batches.next(1, 1);
    const state = batches.state();
    const restore = (): void => openBatches(other).restore(state);
    expect(restore).toThrow(MoeError);
    expect(restore).toThrow(words);
  });

  test("are refused to a state that nobody could have come to", () => {
    const batches = openBatches(options);
    batches.next(1, 1);
    const { positions, ...state } = batches.state();
    expect(() => batches.restore({ ...state, positions: positions.toReversed() })).toThrow("train/changed");
  });

  test.each([
    null,
    5,
    {},
    { draws: 1.5 },
    { draws: 1, positions: [1], seed: 1, context: 8, pack: "joined", sources: [{}] },
  ])("are refused to %j, which is no state", (state) =>
    expect(() => openBatches(options).restore(state)).toThrow("train/bad-record"),
  );

  test("of a source with nothing to predict are refused, with what is held out of it", () => {
    const empty = { ...a, train: stretchOf([40], 0, 1), heldOut: stretchOf([40], 1, 40) };
    const open = (): unknown => openBatches({ ...options, sources: [empty, b] });
    expect(open).toThrow("train/empty-data: `a` has no two ids to train on");
    expect(open).toThrow(MoeError);
  });
});
