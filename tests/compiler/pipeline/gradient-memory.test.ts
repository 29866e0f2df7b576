/** What gradients hold while they are worked out: of plans alone, no device needed. */
import { describe, expect, test } from "vitest";
import { isOp } from "../../../compiler/graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { differentiateProgram } from "../../../compiler/index.ts";
import { compileProgram } from "../../../compiler/pipeline.ts";
import { promisedFacts } from "../../../compiler/plan/facts.ts";
import { evaluateSize } from "../../../compiler/plan/plan.ts";
import { scaleInputs, weighted } from "../../support/gradient-program.ts";
import { makeLayer, namesOf } from "../../support/library.ts";

const attending = namesOf().filter((name) =>
  allFunctions(makeLayer(name, {}, "train").program).some((fn) =>
    topologicalOrder(outputNodes(fn)).some((node) => isOp(node, "attend")),
  ),
);

describe("the gradient of attention keeps nothing for pairs of tokens, in", () => {
  test("several layers", () => expect(attending.length).toBeGreaterThan(5));

  test.each(attending)("%s", (name) => {
    const { program, b } = makeLayer(name, {}, "train");
    const gradient = differentiateProgram(scaleInputs(weighted(program, b), b), "loss", b);
    const plan = compileProgram(gradient, {
      model: "gradient",
      device: promisedFacts("gpu"),
      storage: () => "f32",
      verify: true,
      entries: [{ output: "loss", computes: gradient.main.outputs.map((o) => o.name), regimes: ["whole"] }],
    });
    const sized = (T: number): readonly number[] =>
      [...plan.buffers, ...plan.states].map((x) => evaluateSize(x.elements, { T, Q: T, S: 1, P: T }));
    const [few, many] = [sized(512), sized(1024)];
    const grown = [...plan.buffers, ...plan.states].filter((_, i) => many[i]! > 2 * few[i]!);
    expect(grown.map((x) => `${x.id}: ${JSON.stringify(x.elements)}`)).toEqual([]);
  });
});
