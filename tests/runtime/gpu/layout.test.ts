/** Packing against the definition of the layout, one element at a time, from every type of elements into every format. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FORMATS, WEIGHT_FORMATS } from "../../../compiler/plan/format.ts";
import { matrixBytes, plainBytes } from "../../../compiler/plan/layout.ts";
import type { Parameter } from "../../../compiler/plan/plan.ts";
import { fromFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { ELEMENT_TYPES, ELEMENTS, type ElementType } from "../../../runtime/checkpoint/element-type.ts";
import { packPart } from "../../../runtime/gpu/layout.ts";
import { packArray, packMatrix } from "../../support/matrix.ts";

type Matrix = Extract<Parameter["layout"], { kind: "matrix" }>;

/** Values as stored bytes. */
function store(dtype: ElementType, values: Float32Array): Uint8Array {
  return fromFloat32(ELEMENTS[dtype].dtype, values);
}

function pack(parameter: Parameter, part: number, dtype: ElementType, bytes: Uint8Array, chunk: number): Uint32Array {
  const out = new Uint8Array(parameter.parts[part]!.bytes).fill(0xee);
  let end = 0;
  for (const c of packPart(parameter, part, { dtype, bytes }, chunk)) {
    expect(c.offset).toBe(end);
    // What a queue takes.
    expect(c.bytes.byteLength % 4).toBe(0);
    out.set(c.bytes, c.offset);
    end += c.bytes.byteLength;
  }
  expect(end).toBe(out.length);
  return new Uint32Array(out.buffer);
}

/** Element (b, k, n) of the layout's text, looked up in the source by the values of its axes. */
function define(parameter: Parameter, layout: Matrix, part: number, values: Float32Array): Uint32Array {
  const size = (names: readonly string[]): number =>
    names.reduce((n, name) => n * parameter.axes.find((a) => a.name === name)!.size, 1);
  const spread = (names: readonly string[], index: number): Map<string, number> => {
    const at = new Map<string, number>();
    for (const name of [...names].reverse()) {
      at.set(name, index % size([name]));
      index = Math.floor(index / size([name]));
    }
    return at;
  };
  const { start, count } = parameter.parts[part]!;
  const [B, N] = layout.split === "bank" ? [count, size(layout.n)] : [size(layout.bank), count];
  const K = size(layout.k);
  const out = new Float32Array(B * K * N);
  for (let b = 0; b < B; b++)
    for (let k = 0; k < K; k++)
      for (let n = 0; n < N; n++) {
        const at = new Map([
          ...spread(layout.bank, layout.split === "bank" ? start + b : b),
          ...spread(layout.k, k),
          ...spread(layout.n, layout.split === "n" ? start + n : n),
        ]);
        const source = parameter.axes.reduce((i, axis) => i * axis.size + at.get(axis.name)!, 0);
        out[(b * K + k) * N + n] = values[source]!;
      }
  return packMatrix(out, B, K, N, parameter.storage);
}

const types = fc.constantFrom(...ELEMENT_TYPES);
const formats = fc.constantFrom(...WEIGHT_FORMATS);

test("a matrix packs to the definition of its layout, whatever the order of axes, types, parts and chunks", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom("bank", "k", "n")), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.tuple(types, formats, fc.constantFrom<"bank" | "n">("bank", "n"), fc.integer({ min: 1, max: 3 })),
      fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.infiniteStream(fc.nat()), fc.nat({ max: 3 })),
      ([...drawn], [dtype, storage, split, parts], [chunk, order, misaligned]) => {
        const axes = drawn.map(([size], i) => ({ name: `a${i}`, size }));
        const group = (g: string): string[] =>
          axes
            .filter((_, i) => drawn[i]![1] === g)
            .map((a) => a.name)
            .sort(() => (order.next().value! % 2 === 0 ? 1 : -1));
        const layout: Matrix = { kind: "matrix", bank: group("bank"), k: group("k"), n: group("n"), split };
        const size = (names: readonly string[]): number =>
          names.reduce((n, a) => n * axes.find((x) => x.name === a)!.size, 1);
        const [B, K, N] = [size(layout.bank), size(layout.k), size(layout.n)];
        const whole = split === "bank" ? B : N;
        const each = Math.ceil(whole / parts);
        const ranges = Array.from({ length: Math.ceil(whole / each) }, (_, i) => {
          const count = Math.min(each, whole - i * each);
          const [b, n] = split === "bank" ? [count, N] : [B, count];
          return { start: i * each, count, bytes: matrixBytes(FORMATS[storage], b, K, n) };
        });
        const parameter: Parameter = { path: "p", axes, storage, layout, parts: ranges };
        // Small whole numbers are exact in every type, so that those of the source are those of the definition.
        const values = Float32Array.from({ length: B * K * N }, (_, i) => (i % 255) + 1);
        const stored = store(dtype, values);
        const shifted = new Uint8Array(stored.length + misaligned).subarray(misaligned);
        shifted.set(stored);
        ranges.forEach((_, part) => {
          const packed = pack(parameter, part, dtype, shifted, chunk);
          expect(packed).toEqual(define(parameter, layout, part, values));
        });
      },
    ),
    { numRuns: 300 },
  );
});

test("a plain parameter keeps its order and ends in zeros up to 16 bytes", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      types,
      formats,
      fc.integer({ min: 1, max: 300 }),
      (size, dtype, storage, chunk) => {
        const bytes = plainBytes(FORMATS[storage], size);
        const parameter: Parameter = {
          path: "p",
          axes: [{ name: "D", size }],
          storage,
          layout: { kind: "plain" },
          parts: [{ start: 0, count: size, bytes }],
        };
        const values = Float32Array.from({ length: size }, (_, i) => i + 1);
        expect(pack(parameter, 0, dtype, store(dtype, values), chunk)).toEqual(packArray(values, storage));
      },
    ),
  );
});

test("a plain parameter is cut along its first axis", () => {
  const parts = [
    { start: 0, count: 4, bytes: 48 },
    { start: 4, count: 2, bytes: 32 },
  ];
  const parameter: Parameter = {
    path: "p",
    axes: [
      { name: "V", size: 6 },
      { name: "D", size: 3 },
    ],
    storage: "f32",
    layout: { kind: "plain" },
    parts,
  };
  const values = Float32Array.from({ length: 18 }, (_, i) => i + 1);
  const [first, second] = parts.map(
    (_, i) => new Float32Array(pack(parameter, i, "f32", store("f32", values), 1 << 20).buffer),
  );
  expect([...first!]).toEqual([...values.subarray(0, 12)]);
  expect([...second!]).toEqual([...values.subarray(12), 0, 0]);
});

test("a source of the wrong size is refused by name", () => {
  const parameter: Parameter = {
    path: "blocks[0].w",
    axes: [{ name: "D", size: 4 }],
    storage: "f32",
    layout: { kind: "plain" },
    parts: [{ start: 0, count: 4, bytes: 16 }],
  };
  expect(() => [...packPart(parameter, 0, { dtype: "f32", bytes: new Uint8Array(12) })]).toThrow(
    /blocks\[0\]\.w: 12 bytes/,
  );
});
