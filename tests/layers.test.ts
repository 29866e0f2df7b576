/**
 * Every layer of the standard library that is no part of a family, found by walking it: the GPU computes what the oracle does, with many rows and with few, as
 * the layer is declared and with all of its switches turned the other way. Layers that look at later tokens have no step form.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Program } from "../compiler/graph/node.ts";
import { findPeeks } from "../compiler/incrementalise/incrementalise.ts";
import { compareOutputs } from "./support/compare-plan.ts";
import type { TestGpu } from "./support/gpu.ts";
import { openTestGpu } from "./support/gpu.ts";
import { flagsOf, makeProgram, namesOf, usual } from "./support/library.ts";

const T = 5;
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const cases = namesOf("layer", /^std\/(nn|moe|routers)\//).flatMap((name) => {
  const flags = Object.entries(flagsOf(name));
  const turned = Object.fromEntries(flags.map(([flag, value]) => [flag, !value]));
  const programs = [{ title: name, program: resultsOf(makeProgram(name)) }];
  if (flags.length > 0) programs.push({ title: `${name}, switched`, program: resultsOf(makeProgram(name, turned)) });
  return programs.map((made) => ({ ...made, looksAhead: findPeeks(made.program).length > 0 }));
});

test("the library has layers, and most of them run token by token", () => {
  expect(cases.length).toBeGreaterThan(30);
  expect(cases.filter((c) => c.looksAhead).map((c) => c.title)).toEqual(["SoftMoE"]);
});

describe("a GPU computes what the oracle does", () => {
  test.each(cases.filter((c) => !c.looksAhead))("$title", async ({ program }) => {
    await compareOutputs(program, gpu, T, idsOf(program));
  });
});

/** Without losses and metrics, which look at all tokens. */
function resultsOf(program: Program): Program {
  return { ...program, main: { ...program.main, outputs: program.main.outputs.filter((o) => o.role === "result") } };
}

/** Rows of a table for every input of integers, which may be one row: `ids: u32[..]` stands for no axis here. */
function idsOf({ main }: Program): Readonly<Record<string, readonly number[]>> {
  const ids = Array.from({ length: T }, (_, t) => (7 * t) % usual["V"]!);
  const integers = main.inputs.filter(({ attrs }) => attrs.type.dtype === "u32");
  return Object.fromEntries(
    integers.map(({ attrs: { name, type } }) => [name, type.axes.length === 0 ? ids.slice(-1) : ids]),
  );
}
