/** Weights that are not numbers: found wherever they stand, and refused before they reach a device. */
import { expect, test } from "vitest";
import fc from "fast-check";
import { fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { findNotFinite } from "../../../runtime/gpu/finite.ts";
import { open } from "../../../runtime/open.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { ELEMENT_TYPES, ELEMENTS } from "../../../runtime/checkpoint/element-type.ts";
import { configOf, tensorsOf, writeModel } from "../../support/made-checkpoint.ts";
import { source, tinyPlan } from "../../support/tiny-plan.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

test("the first element that is NaN or infinite is found, in every type, at any place and alignment", () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -65000, max: 65000 });
  const bad = fc.constantFrom(Number.NaN, Infinity, -Infinity);
  fc.assert(
    fc.property(
      fc.constantFrom(...ELEMENT_TYPES),
      fc.array(finite, { maxLength: 9 }),
      bad,
      fc.array(fc.oneof(finite, bad), { maxLength: 9 }),
      fc.constantFrom(0, 2),
      (type, before, wrong, after, shift) => {
        const bytes = fromFloat32(ELEMENTS[type].dtype, Float32Array.from([...before, wrong, ...after]));
        const room = new Uint8Array(bytes.byteLength + shift);
        room.set(bytes, shift);
        expect(findNotFinite(type, room.subarray(shift))).toBe(before.length);
      },
    ),
  );
});

test("numbers at the ends of a type's range are finite", () => {
  for (const type of ELEMENT_TYPES) {
    const { largest } = ELEMENTS[type];
    const values = Float32Array.from([largest, -largest, 0, -0, 1e-7]);
    const { dtype } = ELEMENTS[type];
    const round = (x: number): number => toFloat32(dtype, fromFloat32(dtype, Float32Array.of(x)))[0]!;
    // The last one: more than half a step above it is infinity.
    expect([round(largest), round(largest * (1 + 2 ** -8))]).toEqual([largest, Infinity]);
    expect(findNotFinite(type, fromFloat32(dtype, values))).toBeNull();
  }
});

test("a session is not opened over them, and the message names parameter and element", async () => {
  const device = await openDevice();
  try {
    const plan = tinyPlan(device.facts);
    const { path, axes } = plan.parameters[0]!;
    const spoilt = {
      ...source,
      read: async (name: string, start: number, length: number) => {
        const bytes = await source.read(name, start, length);
        if (name !== path) return bytes;
        const values = new Float32Array(bytes.slice().buffer);
        values[5] = Number.NaN;
        return new Uint8Array(values.buffer);
      },
    };
    await expect(openSession({ plan, device, source: spoilt })).rejects.toThrow(
      `checkpoint/not-finite: parameter \`${path}\` is not finite at ${axes[0]!.name} = 5: element 5 is NaN or infinite`,
    );
  } finally {
    device.close();
  }
});

test("numbers of 64 bits that f32 does not hold are told as that, and those that are none as damaged", async () => {
  const config = { ...configOf("llama"), tie_word_embeddings: false };
  const tensors = await tensorsOf("llama");
  const norm = "model.norm.weight";
  const device = await openDevice();
  try {
    await withScratch(async (scratch) => {
      const openWith = (value: number): Promise<unknown> =>
        writeModel(
          scratch,
          config,
          tensors.map((tensor) => {
            if (tensor.name !== norm) return tensor;
            const values = Float64Array.from(toFloat32(tensor.dtype, tensor.bytes));
            values[5] = value;
            return { ...tensor, dtype: "F64", bytes: new Uint8Array(values.buffer) };
          }),
        ).then((folder) => open(folder, { device }));
      await expectFailure(openWith(1e300), "checkpoint/overflow", "element 5", "D = 5", "1.00e+300");
      await expectFailure(openWith(Infinity), "checkpoint/not-finite", "element 5 is NaN or infinite");
    });
  } finally {
    device.close();
  }
});
