/** `moec build`: no device is needed for a kind. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { promisedFacts } from "../../compiler/plan/facts.ts";
import { loadPlan } from "../../runtime/load/load-plan.ts";
import { moec, temporary, writeFile } from "./support.ts";

test.each(["software", "gpu"] as const)("a plan for any %s device is written, and reads back", async (kind) => {
  const out = temporary(`${kind}.plan`);
  const run = await moec("build", "examples/03-model.moe", "--kind", kind, "--out", out);
  expect(run.code).toBe(0);
  const plan = await loadPlan(out);
  expect(plan.device).toEqual(promisedFacts(kind));
  expect(plan.entries.map((e) => e.name)).toEqual(["logits.prefill", "logits.decode", "nll.prefill"]);
  expect(readdirSync(out).filter((name) => name.endsWith(".wgsl"))).toHaveLength(plan.modules.length);
});

test("the size of a plan does not depend on the number of layers", async () => {
  const summary = async (layers: number) => {
    const text = `edition 2026\nimport { Llama } from "std"\n\nconfig it: Llama { V: 64  L: ${layers}  D: 16  F: 32  G: 1  R: 2  C: 8 }\n`;
    const run = await moec("build", writeFile(`layers-${layers}.moe`, text), "--kind", "gpu", "--json");
    return JSON.parse(run.out) as { kernels: number; entries: { dispatches: number; perLayer: number[] }[] };
  };
  const [two, eight] = [await summary(2), await summary(8)];
  expect(eight.kernels).toBe(two.kernels);
  expect(eight.entries[0]!.perLayer).toEqual(two.entries[0]!.perLayer);
  expect(eight.entries[0]!.dispatches - two.entries[0]!.dispatches).toBe(6 * two.entries[0]!.perLayer[0]!);
});

test("--weights, --cache and --activations say what is kept, and what that costs", async () => {
  const out = temporary("kept.plan");
  const args = ["--kind", "gpu", "--weights", "q8", "--cache", "f16", "--activations", "f16", "--out", out];
  const run = await moec("build", "tests/fixtures/families/llama", ...args);
  expect(run.out + run.err).toContain("weights in q8: 9 bits each");
  expect(run.out + run.err).toContain("within 0.39 % of the largest of its 32 neighbours");
  expect(run.out + run.err).toMatch(/between kernels \d+ buffers in f16, numbers up to 6.6e\+4/);
  expect(run.out + run.err).toMatch(/keys and values in f16: \d+ bytes for each token of context, .* within 0\.098 %/);
  const plan = await loadPlan(out);
  expect(new Set(plan.parameters.map((p) => `${p.storage} ${p.axes.length > 1}`))).toEqual(
    new Set(["q8 true", "f32 false"]),
  );
  expect(new Set(plan.states.map((s) => s.store))).toEqual(new Set(["f16"]));
  expect(plan.buffers.some((b) => b.store === "f16")).toBe(true);
});

test("--dump prints the program after a pass", async () => {
  const before = await moec("build", "examples/03-model.moe", "--kind", "gpu", "--dump", "after:simplify");
  const after = await moec("build", "examples/03-model.moe", "--kind", "gpu", "--dump", "after:sparsify");
  expect(before.out).toMatch(/^fn Block/m);
  // What is chosen is taken from the weights from then on.
  expect(before.out).not.toBe(after.out);
});

test.each([
  ["a pass that does not exist", ["--dump", "after:sparsfy"], "did you mean `sparsify`?"],
  ["a format that does not exist", ["--kind", "gpu", "--weights", "q7"], "Allowed choices are f32, f16, bf16, q8"],
  ["a cache that does not exist", ["--kind", "gpu", "--cache", "f8"], "Allowed choices are f32, f16"],
  ["a kind that does not exist", ["--kind", "quantum"], "Allowed choices are software, gpu"],
  ["a config that does not exist", ["--config", "smal", "--kind", "gpu"], "did you mean `small`?"],
])("%s is refused", async (_, args, words) => {
  const run = await moec("build", "examples/03-model.moe", ...args);
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(run.err).toContain(words);
});

test("a folder with other files in it is not replaced", async () => {
  const folder = temporary("");
  writeFile("keep.txt", "mine");
  const run = await moec("build", "examples/03-model.moe", "--kind", "gpu", "--out", folder);
  expect(run.code).toBe(1);
  expect(run.err).toContain("holds other files");
});

test("a model that looks ahead is refused at the op that does", async () => {
  const path = writeFile(
    "peek.moe",
    `edition 2026
import { Embedding, Linear } from "std"

model Peek(V, D) {
  embed = Embedding(V -> D)
  head  = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    return f32(head(x + mean[T](x)))
  }
}

config it: Peek { V: 16  D: 8 }
`,
  );
  const run = await moec("build", path, "--kind", "gpu");
  expect(run.code).toBe(1);
  expect(run.err).toContain("error[time/future]");
  expect(run.err).toContain("peek.moe:9");
});
