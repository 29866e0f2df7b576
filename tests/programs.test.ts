/**
 * Random programs over the whole op table, and those that once found a fault: printing, passes, batches, gradients and the GPU agree with
 * the oracle. `npm run fuzz -- programs` goes on from here.
 */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Node, isOp } from "../compiler/graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../compiler/graph/traverse.ts";
import { ops } from "../compiler/ops/table.ts";
import { differentiate } from "./fuzz/programs/check-gradients.ts";
import { checkCase, executors, withoutGpu } from "./fuzz/programs/check.ts";
import { type Case, casesOf } from "./fuzz/programs/generate.ts";
import { parseCase, printCase } from "./fuzz/programs/text.ts";
import { hurryAdapter, variants, variantsFor } from "./fuzz/programs/variants.ts";
import type { TestGpu } from "./support/gpu.ts";
import { openTestGpu } from "./support/gpu.ts";

const [LARGE, SMALL] = [
  { programs: 300, steps: 24, seed: 1 },
  { programs: 50, steps: 9, seed: 2 },
];

let gpu: TestGpu;
beforeAll(async () => {
  hurryAdapter();
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const drawn = ({ programs, steps, seed }: typeof LARGE): readonly Case[] =>
  fc.sample(casesOf(steps), { numRuns: programs, seed });

test(
  "random programs print and parse, keep their values in every pass and in batches, and have the gradients of their differences",
  { timeout: 600_000 },
  async () => {
    for (const one of drawn(LARGE)) {
      const { faults } = await checkCase(one, withoutGpu, null);
      expect(faults, printCase(one)).toEqual([]);
    }
  },
);

test(
  "random programs compute on the GPU what the oracle does, in pieces or whole, and so do their gradients",
  { timeout: 600_000 },
  async () => {
    for (const one of drawn(SMALL)) {
      const { faults } = await checkCase(one, ["gpu", "gradients on the gpu"], gpu);
      expect(faults, printCase(one)).toEqual([]);
    }
  },
);

test("every op that programs can have is among them", () => {
  const found = new Set(
    drawn({ ...LARGE, programs: 1500 }).flatMap(({ program }) =>
      allFunctions(program).flatMap((fn) => topologicalOrder([...fn.inputs, ...outputNodes(fn)]).map((n) => n.op)),
    ),
  );
  // The compiler makes this one itself.
  expect(Object.keys(ops).filter((op) => !found.has(op as never))).toEqual(["sequence"]);
});

test("gradients that run on the GPU have recurrences from their end, errors of memories and values of later tokens", () => {
  const kindOf = (node: Node): string | null => {
    if (isOp(node, "scan")) return node.attrs.reverse ? "scan" : null;
    if (isOp(node, "delta_rule")) return node.attrs.reverse && node.attrs.part === "error" ? "errors" : null;
    return isOp(node, "delay") && node.attrs.by < 0 ? "delay" : null;
  };
  const found = drawn({ ...SMALL, programs: 400 }).flatMap((one) => {
    const program = differentiate(one);
    const nodes = program === null ? [] : allFunctions(program).flatMap((fn) => topologicalOrder(outputNodes(fn)));
    return [...new Set(nodes.flatMap((node) => kindOf(node) ?? []))];
  });
  expect([...new Set(found)].sort()).toEqual(["delay", "errors", "scan"]);
});

describe("what once failed", () => {
  const files = globSync(join(import.meta.dirname, "programs", "*.graph")).sort();

  test.each(files.map((path) => [basename(path, ".graph"), path]))("%s", async (_name, path) => {
    const one = parseCase(readFileSync(path, "utf8"));
    const able = variantsFor(gpu);
    for (const variant of [undefined, variants[0]!, variants.find((v) => v.facts?.fastWorkgroupMemory)!]) {
      if (variant !== undefined && !able.includes(variant)) continue;
      const { faults } = await checkCase(one, executors, gpu, variant);
      expect(faults).toEqual([]);
    }
  });
});
