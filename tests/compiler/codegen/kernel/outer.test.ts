import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outerTemplates } from "../../../../compiler/codegen/kernel/select.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";
import { makeOuterCase, type OuterShape } from "../../../support/outer-case.ts";
import { canRun } from "../../../support/templates.ts";

/** Workgroups in x before they fold into y: small and odd, so that some are left over and must do nothing. */
const FOLD = 7;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Runs a case through one template, whatever the device; gives the result after comparing it with float64. */
async function check(name: string, shape: OuterShape): Promise<Float32Array> {
  const test = makeOuterCase("outer", shape);
  const kernels = outerTemplates.find((t) => t.name === name)!.emit(test.spec, gpu.facts);
  const buffers = new Map([...test.data].map(([key, words]) => [key, gpu.upload(words)]));
  buffers.set(bindingKey(test.out), gpu.upload(new Float32Array(test.expected.length).fill(7777)));
  const partial = test.partial();
  if (partial !== null)
    buffers.set(bindingKey(partial.binding), gpu.upload(new Float32Array(partial.elements).fill(7777)));
  const steps = [];
  for (const kernel of kernels) steps.push(await gpu.prepare(kernel, buffers, { T: shape.tokens }, FOLD));
  await gpu.submit(steps);
  const got = new Float32Array(await gpu.read(buffers.get(bindingKey(test.out))!)).slice(0, test.expected.length);
  const wrong = [...test.expected].flatMap((x, i) =>
    Math.abs(got[i]! - x) <= 8e-6 * Math.sqrt(shape.tokens) ? [] : [`[${i}] is ${got[i]}, not ${x}`],
  );
  expect(wrong.slice(0, 4), `${name}, ${shape.tokens} tokens`).toEqual([]);
  return got;
}

const shapes: readonly Omit<OuterShape, "tokens">[] = [
  { k: 32, n: 64 },
  { k: 37, n: 45 },
  { k: 70, n: 132 },
  { k: 3, n: 130 },
];

describe.each(outerTemplates.map((t) => t.name))("template %s", (name) => {
  it.each(shapes)("sums $k rows by $n columns over any number of tokens", async (shape) => {
    if (!canRun(name, gpu.facts)) return;
    for (const tokens of [1, 3, 33, 64, 259]) await check(name, { ...shape, tokens });
  });

  it("sums each bank's choices alone; a bank without any gets zeros, a choice of no bank goes nowhere", async () => {
    if (!canRun(name, gpu.facts)) return;
    for (const [k, n] of [
      [24, 36],
      [21, 18],
    ] as const)
      for (const bankOf of [(c: number) => [0, 3, 3, 4, 9][c % 5]!, () => 2])
        await check(name, { tokens: 74, k, n, groups: { banks: 5, tileRows: 16, bankOf } });
  });

  it("gives the same bits again", async () => {
    if (!canRun(name, gpu.facts)) return;
    const shape = { tokens: 259, k: 32, n: 64 };
    expect(await check(name, shape)).toEqual(await check(name, shape));
  });
});
