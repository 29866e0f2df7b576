/** Sequences out of documents: nothing is predicted twice, nothing across the border of documents, nothing out of padding. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitStore } from "../../../runtime/training/data/held-out.ts";
import { packAll, packStretch } from "../../../runtime/training/data/pack.ts";
import { countedPairs, rowsOf, storeOf, stretchOf } from "./support.ts";

const lengths = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 12 });
const context = fc.integer({ min: 1, max: 9 });
const bounds = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }));

/** A stretch that may begin and end inside of documents. */
const cut = (documents: readonly number[], [a, b]: readonly [number, number]): ReturnType<typeof stretchOf> => {
  const { tokens } = storeOf(documents);
  const [begin, end] = [Math.floor(Math.min(a, b) * tokens), Math.ceil(Math.max(a, b) * tokens)];
  return stretchOf(documents, begin, end);
};

/** Every id that is followed by one of its own document, with that. */
function expected({ store, begin, end }: ReturnType<typeof stretchOf>): readonly (readonly [number, number])[] {
  const starts = new Set(store.starts);
  return Array.from({ length: Math.max(0, end - begin - 1) }, (_, i) => [begin + i, begin + i + 1] as const).filter(
    ([, next]) => !starts.has(next),
  );
}

describe("joined", () => {
  test("every id but a rest is predicted once a pass, from the one before it, never across documents", () => {
    fc.assert(
      fc.property(lengths, context, bounds, fc.nat(), (documents, size, at, n) => {
        const stretch = cut(documents, at);
        const packed = packStretch(stretch, size, "joined");
        const shift = n % (packed.shifts + 1);
        const rows = rowsOf(packed, size, shift);
        const [first, last] = [stretch.begin + shift, stretch.begin + shift + packed.sequences * size];
        const wanted = expected(stretch).filter(([id]) => id >= first && id < last);
        expect(countedPairs(rows)).toEqual(wanted);
        // What is left out is less than a sequence.
        if (packed.padding === 0) expect(packed.shifts).toBeLessThan(size);
      }),
    );
  });

  test("a document that is cut goes on in the next sequence", () => {
    const rows = rowsOf(packStretch(stretchOf([9]), 4, "joined"), 4);
    expect(rows.map((row) => [...row.ids])).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(rows.map((row) => row.target[3])).toEqual([4, 8]);
  });

  test("what begins another document is there, and does not count", () => {
    const [row] = rowsOf(packStretch(stretchOf([2, 3]), 4, "joined"), 4);
    expect([...row!.target]).toEqual([1, 2, 3, 4]);
    expect([...row!.counted]).toEqual([1, 0, 1, 1]);
  });

  test("a source shorter than a sequence is one sequence, padded", () => {
    const packed = packStretch(stretchOf([3]), 5, "joined");
    expect(packed.padding).toBe(3);
    const [row] = rowsOf(packed, 5);
    expect([...row!.ids]).toEqual([0, 1, 2, 2, 2]);
    expect([...row!.counted]).toEqual([1, 1, 0, 0, 0]);
  });
});

describe("documents", () => {
  test("a sequence holds one document alone, and every id is predicted once", () => {
    fc.assert(
      fc.property(lengths, context, bounds, (documents, size, at) => {
        const stretch = cut(documents, at);
        const packed = packStretch(stretch, size, "documents");
        const rows = rowsOf(packed, size);
        expect(countedPairs(rows)).toEqual(expected(stretch));
        const { starts } = stretch.store;
        for (const { ids, target } of rows) {
          const own = new Set([...ids, ...target].map((id) => starts.findLastIndex((start) => start <= id)));
          expect(own.size).toBe(1);
        }
        const padding = rows.reduce((n, { counted }) => n + counted.filter((c) => c === 0).length, 0);
        expect(packed.padding).toBe(padding);
      }),
    );
  });
});

test.each(["joined", "documents"] as const)("measuring, %s, leaves nothing out", (mode) => {
  fc.assert(
    fc.property(lengths, context, bounds, (documents, size, at) => {
      const stretch = cut(documents, at);
      expect(countedPairs(rowsOf(packAll(stretch, size, mode), size))).toEqual(expected(stretch));
    }),
  );
});

describe("what is held out", () => {
  const borderOf = (documents: readonly number[], wanted: Parameters<typeof splitStore>[1]): number => {
    const { train, heldOut } = splitStore(storeOf(documents), wanted);
    expect([train.begin, heldOut.begin, heldOut.end]).toEqual([0, train.end, storeOf(documents).tokens]);
    return train.end;
  };

  test("is the end, by whole documents where one begins near there", () => {
    expect(borderOf([50, 30, 20], { tokens: 22 })).toBe(80);
    expect(borderOf([50, 30, 20], { tokens: 35 })).toBe(50);
    expect(borderOf([50, 30, 20], { share: 0.2, most: 100 })).toBe(80);
  });

  test("is cut out of a document where none does", () => {
    expect(borderOf([100], { tokens: 10 })).toBe(90);
    expect(borderOf([20, 80], { share: 0.05, most: 1000 })).toBe(95);
  });

  test("is no more than was asked for of a large source, and nothing where nothing is", () => {
    expect(borderOf([1000], { share: 0.5, most: 40 })).toBe(960);
    expect(borderOf([1000], { tokens: 0 })).toBe(1000);
    expect(borderOf([10], { tokens: 1000 })).toBe(0);
  });
});
