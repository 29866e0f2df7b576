/** What a training plan lists, counted: dispatches of a layer forwards and backwards, and that layers more are not kernels more. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileTraining } from "../../../compiler/compile-training.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import { Graph, type Node, type Program } from "../../../compiler/graph/node.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import { promisedFacts } from "../../../compiler/plan/facts.ts";
import type { Plan, Repeat } from "../../../compiler/plan/plan.ts";
import { familyFolder } from "../../support/made-checkpoint.ts";
import { type Config, modelOfConfig } from "../../support/random-models.ts";

const [FEW, MANY] = [3, 9];

/** `w - g`: what optimizers do beside is counted elsewhere. */
function descent(): Program {
  const b = new Builder(new Graph());
  const elements = { name: "E", size: Dim.of(4), origin: null };
  const input = (name: string): Node => b.must("input", [], { name, type: { dtype: "f32", axes: [elements] } });
  const node = b.minus(input("w"), input("g"));
  return { functions: new Map(), main: { name: "main", inputs: [], outputs: [{ name: "w", role: "result", node }] } };
}

function planOf(family: string, layers: number): Plan {
  const config = JSON.parse(readFileSync(`${familyFolder(family)}/config.json`, "utf8")) as Config;
  return compileTraining(modelOfConfig({ ...config, num_hidden_layers: layers }), {
    device: promisedFacts("software"),
    sequences: 2,
    trains: () => true,
    optimizing: { ruleOf: () => ({ program: descent(), states: [] }), scalars: [], clip: 1 },
    verify: true,
  }).plan;
}

const stepsOf = (plan: Plan, name: string) => plan.entries.find((e) => e.name === name)!.steps;
const repeatsOf = (plan: Plan, name: string): readonly Repeat[] =>
  stepsOf(plan, name).filter((s): s is Repeat => s.kind === "repeat");

describe.each([
  // Backwards a layer computes once more what it computed forwards, and then its gradients.
  { family: "llama", forwards: 9, backwards: 40, weights: 9 },
  { family: "mixtral", forwards: 21, backwards: 57, weights: 10 },
])("$family", ({ family, forwards, backwards, weights }) => {
  const [few, many] = [planOf(family, FEW), planOf(family, MANY)];

  test("a layer takes no more dispatches than these, forwards and backwards", () => {
    const lists = repeatsOf(many, "micro.whole");
    const isUp = ({ indices }: Repeat): boolean => indices.length > 1 && indices[0]! < indices[1]!;
    const isDown = ({ indices }: Repeat): boolean => indices.length > 1 && indices[0]! > indices[1]!;
    expect(lists.find(isUp)!.steps.length).toBeLessThanOrEqual(forwards);
    expect(lists.find(isDown)!.steps.length).toBeLessThanOrEqual(backwards);
    for (const list of lists) expect(list.steps.length).toBeLessThanOrEqual(isUp(list) ? forwards : backwards);
    const run = lists.flatMap(({ indices }) => indices);
    expect(run.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 2 * MANY }, (_, i) => i >> 1));
  });

  test("an update takes at most two for each weight of a layer, whatever the number of layers", () => {
    for (const plan of [few, many]) {
      const lists = repeatsOf(plan, "update");
      const listed = lists.reduce((n, r) => n + r.steps.length, 0);
      expect(listed).toBeGreaterThan(0);
      expect(listed).toBeLessThanOrEqual(2 * weights);
      for (const { indices } of lists) expect(indices).toHaveLength(plan === few ? FEW : MANY);
    }
  });

  test("layers more are indices more: the same repeats, and kernels for what layers have in common alone", () => {
    const listed = (plan: Plan): readonly number[] => repeatsOf(plan, "micro.whole").map((r) => r.steps.length);
    expect(listed(many)).toEqual(listed(few));
    // A model may add up something of every layer, of some layers in one dispatch.
    const rest = (plan: Plan): number => stepsOf(plan, "micro.whole").filter((s) => s.kind === "dispatch").length;
    expect(rest(many) - rest(few)).toBeLessThanOrEqual(family === "llama" ? 0 : MANY - FEW);
    expect(many.modules.length - few.modules.length).toBeLessThanOrEqual(family === "llama" ? 0 : MANY - FEW);
    const kept = (plan: Plan): number => plan.buffers.filter((b) => b.id.startsWith("grad.")).length;
    expect(kept(many) - kept(few)).toBe(weights * (MANY - FEW));
  });
});
