import { open, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DataType, dataTypes, fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { byteSize, encodeHeader, type TensorSpec } from "../../../runtime/checkpoint/safetensors-header.ts";
import { openSafetensors } from "../../../runtime/load/open-checkpoint.ts";
import { expectFailure, withScratch, writeRaw } from "./scratch.ts";

const allTypes = Object.keys(dataTypes) as DataType[];

describe("a sound file", () => {
  const specs: fc.Arbitrary<TensorSpec[]> = fc.uniqueArray(
    fc.record({
      name: fc.string({ unit: "binary", maxLength: 12 }).filter((name) => name !== "__metadata__"),
      dtype: fc.constantFrom(...allTypes),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
    }),
    { selector: (spec) => spec.name, maxLength: 6 },
  );

  test("gives back every tensor and every slice of it, whatever the names, dtypes and shapes", async () => {
    await withScratch((directory) =>
      fc.assert(
        fc.asyncProperty(specs, fc.dictionary(fc.string(), fc.string()), async (tensors, metadata) => {
          const path = join(directory, "x.safetensors");
          const data = Uint8Array.from({ length: tensors.reduce((sum, t) => sum + byteSize(t), 0) }, (_, i) => i * 7);
          await writeFile(path, Buffer.concat([encodeHeader(tensors, metadata), data]));
          const file = await openSafetensors(path);
          expect(file.dataStart % 8).toBe(0);
          expect({ ...file.metadata }).toEqual({ ...metadata });
          let at = 0;
          for (const tensor of tensors) {
            const size = byteSize(tensor);
            const expected = data.subarray(at, at + size);
            expect(file.tensors.get(tensor.name)).toEqual({ ...tensor, offset: at, bytes: size });
            expect(await file.read(tensor.name)).toEqual(expected);
            const half = Math.floor(size / 2);
            const into = new Uint8Array(size + 3);
            expect(await file.read(tensor.name, { byteOffset: half, length: size - half, into })).toEqual(
              expected.subarray(half),
            );
            at += size;
          }
          await file.close();
        }),
        { numRuns: 60 },
      ),
    );
  });

  test("refuses reads outside a tensor, and tensors it does not have", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "x.safetensors");
      await writeRaw(path, '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4);
      const file = await openSafetensors(path);
      await expect(file.read("a", { byteOffset: 2, length: 3 })).rejects.toThrow(RangeError);
      await expect(file.read("a", { byteOffset: -1 })).rejects.toThrow(RangeError);
      await expect(file.read("a", { into: new Uint8Array(3) })).rejects.toThrow(RangeError);
      await expectFailure(file.read("b"), "checkpoint/unknown-tensor", "`b`", path);
      await truncate(path, 60);
      await expectFailure(file.read("a"), "checkpoint/truncated", path);
      await file.close();
    });
  });

  test("may be longer than 2 GiB, and a tensor beyond that is read where it lies", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "big.safetensors");
      const hole = { name: "hole", dtype: "U8", shape: [3, 2 ** 30] } as const;
      const header = encodeHeader([hole, { name: "last", dtype: "U8", shape: [4] }], {});
      await writeFile(path, header);
      await truncate(path, header.byteLength + 3 * 2 ** 30 + 4); // sparse: takes no room on the disk
      const handle = await open(path, "r+");
      await handle.write(Uint8Array.of(1, 2, 3, 4), 0, 4, header.byteLength + 3 * 2 ** 30);
      await handle.close();
      const file = await openSafetensors(path);
      expect(await file.read("last")).toEqual(Uint8Array.of(1, 2, 3, 4));
      expect(await file.read("hole", { byteOffset: 3 * 2 ** 30 - 2 })).toEqual(Uint8Array.of(0, 0));
      await file.close();
    });
  });
});

describe("a hostile or damaged file is refused, with file and tensor named", () => {
  const entry = (shape: string, range: string, dtype = '"U8"'): string =>
    `{"dtype":${dtype},"shape":${shape},"data_offsets":${range}}`;
  const one = (shape: string, range: string, dtype?: string): string => `{"a":${entry(shape, range, dtype)}}`;
  const cases: [
    what: string,
    header: string | Uint8Array,
    dataBytes: number,
    code: string,
    part: string,
    length?: bigint,
  ][] = [
    ["a header longer than the file", "{}", 0, "bad-header", "more than the file", 3n],
    ["a header of 2^64 - 1 bytes", "{}", 0, "bad-header", "100 MB", 2n ** 64n - 1n],
    ["an empty header", "", 0, "bad-header", "JSON"],
    ["a header that is no JSON", "{oops}", 0, "bad-header", "JSON"],
    ["a header that is no UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x30, 0x7d), 0, "bad-header", "UTF-8"],
    ["a header that is an array", "[]", 0, "bad-header", "object"],
    ["metadata that is no string", '{"__metadata__":{"n":1}}', 0, "bad-header", "__metadata__"],
    ["a tensor that is a number", '{"a":1}', 0, "bad-header", "`a`"],
    ["a name twice", `{"a":${entry("[2]", "[0,2]")},"a":${entry("[2]", "[0,2]")}}`, 2, "duplicate-tensor", "`a`"],
    [
      "a name twice, once escaped",
      `{"a":${entry("[2]", "[0,2]")},"\\u0061":${entry("[2]", "[0,2]")}}`,
      2,
      "duplicate-tensor",
      "`a`",
    ],
    [
      "a field twice",
      '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      1,
      "duplicate-tensor",
      "`dtype`",
    ],
    ["an unknown dtype", one("[2]", "[0,2]", '"F5"'), 2, "unknown-dtype", "F5"],
    ["a dtype that is a property of every object", one("[2]", "[0,2]", '"toString"'), 2, "unknown-dtype", "toString"],
    ["no dtype", '{"a":{"shape":[1],"data_offsets":[0,1]}}', 1, "unknown-dtype", "`a`"],
    ["a negative size", one("[-2]", "[0,2]"), 2, "bad-shape", "-2"],
    ["a fractional size", one("[1.5]", "[0,2]"), 2, "bad-shape", "1.5"],
    ["a size that is a string", one('["2"]', "[0,2]"), 2, "bad-shape", "`a`"],
    ["a size beyond 2^53", one("[9007199254740993]", "[0,2]"), 2, "bad-shape", "`a`"],
    ["a shape that is no list", one("2", "[0,2]"), 2, "bad-shape", "`a`"],
    ["sizes whose product overflows", one("[4294967296,4294967296,4294967296]", "[0,0]"), 0, "bad-offsets", "`a`"],
    ["offsets in the wrong order", one("[2]", "[2,0]"), 2, "bad-offsets", "`a`"],
    ["a negative offset", one("[2]", "[-2,0]"), 2, "bad-offsets", "`a`"],
    ["three offsets", one("[2]", "[0,1,2]"), 2, "bad-offsets", "`a`"],
    ["more bytes than the shape has", one("[2]", "[0,4]"), 4, "bad-offsets", "2 bytes"],
    [
      "overlapping tensors",
      `{"a":${entry("[3]", "[0,3]")},"b":${entry("[2]", "[2,4]")}}`,
      4,
      "bad-offsets",
      "overlaps",
    ],
    [
      "a hole between tensors",
      `{"a":${entry("[1]", "[0,1]")},"b":${entry("[2]", "[2,4]")}}`,
      4,
      "bad-offsets",
      "1 unused",
    ],
    ["a hole at the beginning", one("[2]", "[1,3]"), 3, "bad-offsets", "1 unused"],
    ["bytes after the last tensor", one("[2]", "[0,2]"), 5, "bad-offsets", "3 bytes"],
    ["data that was cut off", one("[2]", "[0,2]"), 1, "truncated", "`a`"],
  ];

  test.each(cases)("%s", async (_, header, dataBytes, code, part, length) => {
    await withScratch(async (directory) => {
      const path = join(directory, "x.safetensors");
      await writeRaw(path, header, dataBytes, length);
      await expectFailure(openSafetensors(path), `checkpoint/${code}`, path, part);
    });
  });

  test("a file too short for a length, a directory, and no file at all", async () => {
    await withScratch(async (directory) => {
      const path = join(directory, "x.safetensors");
      await expectFailure(openSafetensors(path), "checkpoint/unreadable", path);
      await writeFile(path, "1234567");
      await expectFailure(openSafetensors(path), "checkpoint/bad-header", path, "7 bytes");
      await expectFailure(openSafetensors(directory), "checkpoint/bad-header", "not a file");
    });
  });

  test("random bytes never get through as anything but a diagnostic", async () => {
    await withScratch((directory) =>
      fc.assert(
        fc.asyncProperty(fc.json(), fc.nat(40), async (header, dataBytes) => {
          const path = join(directory, "x.safetensors");
          await writeRaw(path, `{"a":${header}}`, dataBytes);
          const error: unknown = await openSafetensors(path).catch((cause: unknown) => cause);
          expect((error as Error).name).toBe("MoeError");
        }),
        { numRuns: 50 },
      ),
    );
  });
});

describe("number formats", () => {
  test("floats of every width keep what they can hold, at any alignment", () => {
    const values = Float32Array.of(0, -0, 1, -2.5, 384, 2 ** -10, Infinity);
    for (const dtype of ["F64", "F32", "F16", "BF16"] as const) {
      const bytes = fromFloat32(dtype, values);
      expect(bytes.byteLength).toBe(values.length * dataTypes[dtype].width);
      const shifted = Buffer.concat([Uint8Array.of(9), bytes]).subarray(1);
      expect([...toFloat32(dtype, bytes)]).toEqual([...values]);
      expect([...toFloat32(dtype, shifted)]).toEqual([...values]);
    }
  });

  test("integers of every width are read with their sign", () => {
    const bytesOf = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer);
    expect([...toFloat32("I8", bytesOf(Int8Array.of(-1, 127)))]).toEqual([-1, 127]);
    expect([...toFloat32("U8", Uint8Array.of(255))]).toEqual([255]);
    expect([...toFloat32("BOOL", Uint8Array.of(0, 1))]).toEqual([0, 1]);
    expect([...toFloat32("I16", bytesOf(Int16Array.of(-2, 300)))]).toEqual([-2, 300]);
    expect([...toFloat32("U16", bytesOf(Uint16Array.of(65535)))]).toEqual([65535]);
    expect([...toFloat32("I32", bytesOf(Int32Array.of(-70000)))]).toEqual([-70000]);
    expect([...toFloat32("U32", bytesOf(Uint32Array.of(2 ** 31)))]).toEqual([2 ** 31]);
    expect([...toFloat32("I64", bytesOf(BigInt64Array.of(-3n, 2n ** 40n)))]).toEqual([-3, 2 ** 40]);
    expect([...toFloat32("U64", bytesOf(BigUint64Array.of(2n ** 63n)))]).toEqual([2 ** 63]);
  });

  test("8-bit floats are not numbers without their scales", async () => {
    await expectFailure((async () => toFloat32("F8_E4M3", Uint8Array.of(1)))(), "checkpoint/no-conversion", "F8_E4M3");
    await expectFailure((async () => fromFloat32("I32", Float32Array.of(1)))(), "checkpoint/no-conversion", "I32");
  });
});
