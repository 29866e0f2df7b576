/** Which optimizer steps which parameter: paths, what they set, and what is told of those that set nothing. */
import { expect, test } from "vitest";
import { makeModel, type Model } from "../../../compiler/index.ts";
import { constructorOf } from "../../../compiler/language/interpret/instance.ts";
import { newContext } from "../../../compiler/language/model/model.ts";
import { evaluateScalar } from "../../../compiler/plan/scalar.ts";
import { compileTraining } from "../../../compiler/compile-training.ts";
import { groupParameters, type Groups } from "../../../compiler/training/groups.ts";
import type { OptimizerRule } from "../../../compiler/training/optimizer.ts";
import { readSettings, type SettingTexts } from "../../../compiler/training/settings.ts";
import { MoeError } from "../../../grammar/index.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { softwareFacts } from "../../support/facts.ts";

const workspace = openWorkspace();
const scope = workspace.open({
  path: "model.moe",
  text: `edition 2026
import { Embedding, Linear, MoE, RMSNorm, SigmoidTopK } from "std"
layer Block(D, F, N) {
  norm = RMSNorm(D)
  ffn  = MoE(D, F, N, SigmoidTopK(K: 1))
  forward(x: [T, D]) -> [T, D] = x + ffn(norm(x))
}
model Small(V, D, F, N, L) {
  embed  = Embedding(V -> D)
  blocks = L of Block(D, F, N)
  norm   = RMSNorm(D)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(norm(x)))
  }
}
optimizer Plain(momentum = 0.0, decay = 0.0) {
  m = state[..](zeros)
  step(w: [..], g: [..], rate: []) -> [..] {
    update m = momentum * m + g
    return (1.0 - rate * decay) * w - rate * (momentum * m + g)
  }
}
optimizer Halves(decay = 0.0) for [.., A, B] else Plain { step(w: [.., A, B], g: [.., A, B], rate: []) -> [.., A, B] = w - 0.5 * rate * g }
config small: Small { V: 7  D: 4  F: 6  N: 2  L: 3 }`,
});

const model = makeSmall();

function makeSmall(): Model {
  const found = scope.lookup("small")!.item;
  const decl = scope.lookup("Small")!.item;
  if (found.kind !== "config" || decl.kind !== "layer") throw new Error("no model");
  const callee = constructorOf(newContext(), scope, decl, found.fields);
  if (callee.kind !== "constructor") throw new Error("no constructor");
  return makeModel(callee, found.span);
}

function group(texts: Partial<SettingTexts>): Groups {
  return groupParameters(model, readSettings(workspace, { optimizer: "SGD", rate: "1e-3", ...texts }));
}

/** What a rule's numbers are in a step, by their texts. */
function numbersOf({ scalars }: OptimizerRule, step: number, steps = 10): readonly number[] {
  return scalars.map(({ expr }) => evaluateScalar(expr, { step, steps, tokens: 1, micro: 1 }));
}

function told(texts: Partial<SettingTexts>): string {
  try {
    group(texts);
  } catch (error) {
    if (error instanceof MoeError) return `${error.diagnostics[0]!.message} [${error.diagnostics[0]!.code}]`;
    throw error;
  }
  return "nothing";
}

test("without rules all parameters have one rule, and states have none", () => {
  const { ruleOf, trains } = group({});
  expect(ruleOf("embed.w")).toBe(ruleOf("blocks[2].norm.w"));
  expect(trains("blocks[0].ffn.pick.bias")).toBe(false);
  expect(model.parameters.filter((p) => !p.state).every((p) => trains(p.path))).toBe(true);
  // 1e-3 needs nobody to compute it.
  expect(numbersOf(ruleOf("embed.w"), 1)).toEqual([]);
});

test("the longer path wins, of equal ones the later; a rate is in terms of the one that it takes the place of", () => {
  const { ruleOf } = group({
    rate: "0.1 / t",
    rules: {
      "blocks[l].ffn.pick": { rate: "10 * rate" },
      "blocks[l].ffn": { rate: "2 * rate" },
      "blocks[0], norm": { rate: "7.0" },
    },
  });
  expect(numbersOf(ruleOf("head.w"), 4)).toEqual([0.1 / 4]);
  expect(numbersOf(ruleOf("blocks[1].ffn.experts.up.w"), 4)).toEqual([2 * (0.1 / 4)]);
  expect(numbersOf(ruleOf("blocks[1].ffn.pick.score.w"), 4)).toEqual([10 * (2 * (0.1 / 4))]);
  expect(numbersOf(ruleOf("norm.w"), 4)).toEqual([]);
  expect(numbersOf(ruleOf("blocks[0].norm.w"), 4)).toEqual([]);
});

test("arguments are set by path, and may be in terms of a layer's number", () => {
  const { ruleOf } = group({
    optimizer: "AdamW(decay: 0.1)",
    rate: "1.0 * t",
    rules: {
      "norm, blocks[l].norm": { decay: "0" },
      "blocks[l].ffn": { rate: "rate * pow(0.5, l)", decay: "decay / 2" },
    },
  });
  const keeps = (path: string): number => numbersOf(ruleOf(path), 1)[0]!;
  expect(keeps("head.w")).toBeCloseTo(0.9, 12);
  expect(ruleOf("norm.w")).toBe(ruleOf("blocks[2].norm.w"));
  expect(numbersOf(ruleOf("norm.w"), 1)).toContain(1);
  expect([0, 1, 2].map((l) => keeps(`blocks[${l}].ffn.pick.score.w`))).toEqual([0.95, 0.975, 0.9875]);
});

test("an optimizer of matrices leaves the others to the one behind its `else`, whose arguments are set by path as well", () => {
  const settings = readSettings(workspace, {
    optimizer: "Halves",
    rate: "1e-3",
    rules: { "norm, blocks[l].norm": { momentum: "0.5" }, "blocks[l]": { decay: "0.25" } },
  });
  const { ruleOf } = groupParameters(model, { ...settings, scope });
  expect(ruleOf("head.w").isElementwise).toBe(false);
  expect(ruleOf("head.w").program.main.outputs[0]!.node.type.axes.map((a) => a.size.value)).toEqual([7, 4]);
  expect(ruleOf("norm.w").isElementwise).toBe(true);
  expect(ruleOf("norm.w").program.main.name).toBe("Plain");
  expect(ruleOf("norm.w")).not.toBe(ruleOf("blocks[1].norm.w"));
});

test("the same kernels update matrices of every layer, in memory that they share", () => {
  const settings = { ...readSettings(workspace, { optimizer: "Halves", rate: "1e-3" }), scope };
  const optimizing = { ...groupParameters(model, settings), clip: 1 };
  const { plan } = compileTraining(model, {
    device: softwareFacts,
    sequences: 1,
    trains: () => true,
    optimizing,
    verify: true,
  });
  const update = plan.entries.find((e) => e.phase === "update")!;
  const up = update.steps.filter((s) => s.kind === "repeat" && s.steps.some((d) => d.label.includes("experts.up.w: ")));
  expect(up.map((s) => (s.kind === "repeat" ? s.indices : []))).toEqual([[0, 1, 2]]);
  expect(plan.buffers.filter((b) => b.id.startsWith("update.blocks[layer].ffn.experts.up.w"))).toHaveLength(1);
});

test("`only` and `frozen` say what is trained, the longer path of both first", () => {
  const trained = (texts: Partial<SettingTexts>): readonly string[] => {
    const { trains } = group(texts);
    return model.parameters.flatMap(({ path }) => (trains(path) && !/[12]/.test(path) ? [path] : []));
  };
  expect(trained({ frozen: ["blocks[l]", "embed"] })).toEqual(["norm.w", "head.w"]);
  expect(trained({ only: ["blocks[l].ffn.pick"] })).toEqual(["blocks[0].ffn.pick.score.w"]);
  expect(trained({ only: ["blocks[l]"], frozen: ["blocks[l].ffn"] })).toEqual(["blocks[0].norm.w"]);
  expect(trained({ only: ["blocks[l].ffn.pick"], frozen: ["blocks[l].ffn"] })).toEqual(["blocks[0].ffn.pick.score.w"]);
});

test.each<readonly [string, Partial<SettingTexts>]>([
  [
    "`blocks[l].ffn.experts[1]` is a part of `blocks[0].ffn.experts.gate.w`, which is trained as a whole [train/part]",
    { rules: { "blocks[l].ffn.experts[1]": { rate: "0.1" } } },
  ],
  [
    "there is nothing that an optimizer changes in `blocks[l].ffn.pick.bias` [train/state]",
    { rules: { "blocks[l].ffn.pick.bias": { rate: "0.1" } } },
  ],
  ["no parameter of `Small` is trained [train/nothing]", { only: ["norm"], frozen: ["norm.w"] }],
  [
    "no optimizer of what is trained here has a parameter `dekay` [name/no-parameter]",
    { rules: { norm: { dekay: "0.1" } } },
  ],
  ["a learning rate is one number f32[], and this is bool[] [type/parameter-kind]", { rate: "t > 3.0" }],
  ["an optimizer is needed here, not the layer `Linear` [type/not-an-optimizer]", { optimizer: "Linear(4 -> 4)" }],
  ["there is no `fnn` in `blocks[0]` [map/no-member]", { frozen: ["blocks[l].fnn"] }],
  ["there is no name `step` here [name/unknown]", { rate: "0.1 * step" }],
  ["expected an expression, found the end of the file [syntax/unexpected-token]", { rate: "0.1 *" }],
  ["expected the end, found `SGD` [syntax/unexpected-token]", { optimizer: "SGD SGD" }],
  ["this is not the path of a parameter [map/bad-path]", { only: ["blocks[l"] }],
])("%s", (message, texts) => {
  expect(told(texts)).toBe(message);
});

test.each<readonly [string, Readonly<Record<number, number>>]>([
  ["warm_up(t, 4)", { 1: 0.25, 4: 1, 10: 1 }],
  ["cosine_decay(t, steps, warmup: 2)", { 1: 0.5, 2: 1, 6: 0.55, 10: 0.1 }],
  ["cosine_decay(t, steps, floor: 0)", { 5: 0.5, 10: 0 }],
  ["linear_decay(t, steps, warmup: 2)", { 1: 0.5, 2: 1, 6: 0.5, 10: 0 }],
  ["inverse_sqrt_decay(t, warmup: 4)", { 1: 0.25, 4: 1, 9: 2 / 3 }],
  ["trapezoid(t, steps, warmup: 2, cooldown: 4)", { 1: 0.5, 2: 1, 6: 1, 8: 0.5, 10: 0 }],
])("the schedule %s", (schedule, factors) => {
  const rule = group({ rate: `2e-3 * ${schedule}` }).ruleOf("head.w");
  for (const [step, factor] of Object.entries(factors))
    expect(numbersOf(rule, Number(step))[0]).toBeCloseTo(2e-3 * factor, 12);
});
