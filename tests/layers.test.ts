/**
 * Every layer of the standard library that is no part of a family, found by walking it: the GPU computes what the oracle does, as the
 * layer is declared and with all of its switches turned the other way; with many rows and with few, or a whole sequence at once where it
 * looks at later tokens.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Program } from "../compiler/graph/node.ts";
import { findPeeks } from "../compiler/passes/incrementalise.ts";
import { promisedFacts } from "../compiler/plan/facts.ts";
import { compileProgram } from "../compiler/pipeline.ts";
import { compareOutputs } from "./support/compare-plan.ts";
import type { TestGpu } from "./support/gpu.ts";
import { openTestGpu } from "./support/gpu.ts";
import { flagsOf, makeLayer, namesOf, usual } from "./support/library.ts";

const T = 5;
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const cases = namesOf("layer", /^std\/(nn|moe|routers)\//).flatMap((name) => {
  const flags = Object.entries(flagsOf(name));
  const turned = Object.fromEntries(flags.map(([flag, value]) => [flag, !value]));
  const programs = [{ title: name, program: resultsOf(makeLayer(name).program) }];
  if (flags.length > 0)
    programs.push({ title: `${name}, switched`, program: resultsOf(makeLayer(name, turned).program) });
  return programs.map((made) => ({ ...made, looksAhead: findPeeks(made.program).length > 0 }));
});

test("the library has layers, and most of them run token by token", () => {
  expect(cases.length).toBeGreaterThan(30);
  expect(cases.filter((c) => c.looksAhead).length).toBeLessThan(cases.length / 4);
});

describe("a GPU computes what the oracle does", () => {
  test.each(cases)("$title", async ({ program, looksAhead }) => {
    await compareOutputs(program, gpu, T, idsOf(program), looksAhead ? ["whole"] : ["prefill", "decode"]);
  });
});

test.each(["software", "gpu"] as const)("eight storage buffers are enough, for a kind of device: %s", (kind) => {
  for (const { program, looksAhead } of cases) {
    const [output] = program.main.outputs;
    compileProgram(program, {
      model: "layer",
      device: { ...promisedFacts(kind), maxStorageBuffers: 8 },
      storage: () => "f32",
      verify: true,
      entries: [{ output: output!.name, regimes: looksAhead ? ["whole"] : ["prefill", "decode"] }],
    });
  }
});

/** Without losses and metrics, which look at all tokens. */
function resultsOf(program: Program): Program {
  return { ...program, main: { ...program.main, outputs: program.main.outputs.filter((o) => o.role === "result") } };
}

/** Rows of a table for every input of integers. */
function idsOf({ main }: Program): Readonly<Record<string, readonly number[]>> {
  const ids = Array.from({ length: T }, (_, t) => (7 * t) % usual["V"]!);
  return Object.fromEntries(
    main.inputs.flatMap(({ attrs }) => (attrs.type.dtype === "u32" ? [[attrs.name, ids]] : [])),
  );
}
