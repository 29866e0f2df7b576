/** Dispatches of a layer's parts: what a mixture takes is what the design aims at, and every dispatch is somebody's. */
import { expect, test } from "vitest";
import { compileModel } from "../../../compiler/index.ts";
import { countDispatches } from "../../../runtime/measure/dispatches.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { softwareFacts } from "../../support/facts.ts";

async function planOf(family: string) {
  const { model, checkpoint } = await loadModel(`tests/fixtures/families/${family}`, openWorkspace());
  await checkpoint.close();
  return compileModel(model, { device: softwareFacts, storage: () => "f32" });
}

test("a mixture takes at most 6 dispatches for a prompt and 3 for a token", async () => {
  const plan = await planOf("mixtral");
  const [prompt, token] = ["logits.prefill", "logits.decode"].map((entry) => countDispatches(plan, entry));
  for (const [layers, most] of [
    [prompt, 6],
    [token, 3],
  ] as const) {
    expect(layers).toMatchObject([{ stack: "blocks", layers: [0, 1] }]);
    const mixture = layers![0]!.parts.find((p) => p.part === "ffn")!;
    expect(mixture).toMatchObject({ hasExperts: true, keepsState: false });
    expect(mixture.dispatches).toBeLessThanOrEqual(most);
    expect(layers![0]!.parts.find((p) => p.part === "attn")).toMatchObject({ hasExperts: false, keepsState: true });
  }
});

test("layers of two kinds are told apart, and their parts add up to all that is dispatched", async () => {
  const plan = await planOf("deepseek_v3");
  for (const { name, steps } of plan.entries.filter((e) => e.output === "logits")) {
    const layers = countDispatches(plan, name);
    expect(layers.map((l) => l.layers)).toEqual([[0], [1]]);
    expect(layers.map(({ parts }) => parts.reduce((n, p) => n + p.dispatches, 0))).toEqual(
      steps.flatMap((s) => (s.kind === "repeat" ? [s.steps.length] : [])),
    );
    expect(layers.map(({ parts }) => parts.find((p) => p.part === "ffn")?.hasExperts)).toEqual([false, true]);
  }
});
