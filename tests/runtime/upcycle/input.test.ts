/** Sources that run before anything is written: planned, noted, continued to the same bits, refused where they cannot. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { failure } from "../../../grammar/diagnostic.ts";
import type { Activation, Model, Value } from "../../../compiler/index.ts";
import { evaluateActivations, sizesGiven } from "../../../compiler/weights/upcycle/observe.ts";
import { toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { countElements } from "../../../runtime/checkpoint/strided.ts";
import { ELEMENTS } from "../../../runtime/checkpoint/element-type.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import type { UpcyclePlan } from "../../../runtime/upcycle/plan.ts";
import { computeGiven } from "../../../runtime/upcycle/runs.ts";
import { readProvenance } from "../../../runtime/upcycle/why.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, withPlan, withRecipe } from "./support.ts";

/** Both sources run; `first` has an expert's prompts. */
const recipe = (first: string): string => `edition 2026
import { Mixtral } from "std"

upcycle prompted(base: model, other: model) -> Mixtral(N: 2, K: 1) {
  default = base
  blocks[l].ffn {
    experts[0]   = base.blocks[l].mlp
    experts[1]   = other.blocks[l].mlp
    pick.score.w = stack[N](mean[T](input(base.blocks[l].mlp, ${first})), mean[T](input(other.blocks[l].mlp, ids: [[5, 77], [3]])))
  }
  ignore other
}
`;
const TEXT = `text: ["def f(x):", "a"]`;
const SOURCES = CHECKPOINTS.slice(0, 2);

const readFolder = (folder: string): ReadonlyMap<string, Buffer> =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

test("the plan says which sources run on how much, and what they read", async () => {
  await withRecipe(recipe(TEXT), SOURCES, async ({ runs, bytesRead, tensors }, sources) => {
    const all = sources[0]!.model.parameters.reduce((n, p) => n + 2 * p.axes.reduce((m, a) => m * a.size, 1), 0);
    expect(runs.map(({ source, prompts, tokens }) => [source, prompts.length, tokens])).toEqual([
      [0, 2, runs[0]!.prompts.reduce((n, p) => n + p.ids.length, 0)],
      [1, 2, 3],
    ]);
    // A text begins with the tokenizer's first token.
    expect(runs[0]!.prompts.map((p) => p.ids[0])).toEqual([0, 0]);
    // All but what follows the last feed-forward's input: the final norm and the head.
    for (const run of runs) expect(run.bytes).toBe(all - 2 * (128 + 2048 * 128));
    expect(bytesRead).toBe(tensors.reduce((n, t) => n + t.bytesRead, 0) + runs.reduce((n, run) => n + run.bytes, 0));
  });
});

test("a run that broke off is continued to the same bits, with other prompts it starts over", async () => {
  await withScratch(async (scratch) => {
    const [whole, broken] = [join(scratch, "whole"), join(scratch, "broken")];
    const earlier: (readonly [boolean, boolean])[] = [];
    const run = (first: string, out: string, units = Infinity): Promise<void> =>
      withRecipe(recipe(first), SOURCES, (plan: UpcyclePlan) => {
        let left = units;
        return executeTransfer(plan, out, {
          onEarlierRun: (bytes, isSame) => earlier.push([bytes > 0, isSame]),
          onProgress: () => {
            // As a full disk does.
            if (--left === 0) throw failure("checkpoint/write-failed", "stopped by the test");
          },
        });
      });
    await run(TEXT, whole);
    await expectFailure(run(`text: "law"`, broken, 30), "checkpoint/write-failed");
    await expectFailure(run(TEXT, broken, 30), "checkpoint/write-failed");
    expect(existsSync(broken)).toBe(false);
    await run(TEXT, broken);
    expect(earlier).toEqual([
      [false, false],
      [true, true],
    ]);
    expect(readFolder(broken)).toEqual(readFolder(whole));

    const { prompts, tensors } = await readProvenance(whole);
    expect(prompts.map(({ source, text }) => [source, text])).toEqual([
      [0, "def f(x):"],
      [0, "a"],
      [1, null],
      [1, null],
    ]);
    expect(prompts.slice(2).map((p) => p.ids)).toEqual([[5, 77], [3]]);
    const [part] = tensors["model.layers.3.block_sparse_moe.gate.weight"]!.parts;
    expect(part!.terms[1]).toEqual({
      weight: 1,
      source: 1,
      given: "blocks[3].mlp",
      rows: [
        [
          { prompt: 2, tokens: [0, 1], weight: 1 / 3 },
          { prompt: 3, tokens: [0], weight: 1 / 3 },
        ],
      ],
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
    });
  });
});

test("`prompted` writes rows of length one, of every model's prompts, and says which", async () => {
  const text = (value: string): Value => ({ kind: "string", value });
  const options = new Map([["prompts", { kind: "list", items: [text("def f(x):"), text("the court held")] } as const]]);
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await withPlan("prompted", CHECKPOINTS.slice(0, 3), { options }, (plan) => executeTransfer(plan, out));
    const { model, source, checkpoint } = await loadModel(out);
    const { path } = model.parameters.find((p) => p.path.endsWith("pick.score.w"))!;
    const rows = toFloat32(ELEMENTS[source.storage(path)].dtype, await source.read(path, 0, 2 * 128));
    await checkpoint.close();
    const [a, b] = [rows.slice(0, 128), rows.slice(128)];
    const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    expect([dot(a, a), dot(b, b)]).toEqual([expect.closeTo(1, 2), expect.closeTo(1, 2)]);
    expect(dot(a, b)).toBeLessThan(0.99);
    const { prompts } = await readProvenance(out);
    expect(prompts.map((p) => [p.source, p.text])).toEqual([
      [0, "def f(x):"],
      [0, "the court held"],
    ]);
  });
});

test.each(["deepseek_v3", "gpt_neox", "gemma2"])(
  "what every part of a layer of %s is given is what the oracle says, token by token",
  async (family) => {
    const loaded = await loadModel(`tests/fixtures/families/${family}`);
    try {
      const { model, source } = loaded;
      const prompt = { ids: [5, 3, 7, 1, 9, 2, 4, 4, 8, 6, 1, 0], text: null };
      const activations = partsOf(model).map((part): Activation => {
        const width = sizesGiven(model, part)!.reduce((a, b) => a * b, 1);
        return { source: 0, part, width, rows: prompt.ids.map((_, at) => [{ prompt, tokens: [at], weight: 1 }]) };
      });
      expect(activations.length).toBeGreaterThan(6);
      const weights = new Map<string, Float64Array>();
      for (const { path, axes } of model.parameters) {
        const bytes = await source.read(path, 0, countElements(axes.map((a) => a.size)));
        weights.set(path, Float64Array.from(toFloat32(ELEMENTS[source.storage(path)].dtype, bytes)));
      }
      const expected = evaluateActivations(activations, [model], [weights]);
      const run = { source: 0, loaded, prompts: [prompt], activations, tokens: 12, bytes: 0 };
      for (const [activation, values] of await computeGiven([run])) {
        const largest = values.reduce((n, v, i) => Math.max(n, Math.abs(v - expected.get(activation)![i]!)), 0);
        expect([activation.part, largest < 2e-5]).toEqual([activation.part, true]);
      }
    } finally {
      await loaded.checkpoint.close();
    }
  },
);

/** Every layer of a stack, and what it is made of. */
function partsOf({ instance }: Model): readonly string[] {
  return [...instance.members].flatMap(([stack, member]) =>
    member.kind !== "stack"
      ? []
      : member.layers.flatMap((layer, l) => [
          `${stack}[${l}]`,
          ...[...layer.members].flatMap(([name, m]) => (m.kind === "layer" ? [`${stack}[${l}].${name}`] : [])),
        ]),
  );
}

describe("what cannot run is told before anything is written", () => {
  const plan = (first: string, sources = SOURCES): Promise<void> =>
    withRecipe(recipe(first), sources, async () => undefined);

  test("a token that the real vocabulary has not", async () => {
    await expectFailure(plan("ids: [[1], [5000]]"), "upcycle/prompt", "5000 is not a token: the vocabulary has 2048");
  });

  test("more tokens than the model was made for", async () => {
    const long = Array.from({ length: 513 }, () => 7).join(", ");
    await expectFailure(plan(`ids: [${long}]`), "upcycle/prompt", "513 tokens are more than the 512");
  });

  test("a text without a tokenizer; token ids need none", async () => {
    await withScratch(async (scratch) => {
      const folders = SOURCES.map((from, i) => {
        const folder = join(scratch, `source${i}`);
        cpSync(from, folder, { recursive: true });
        rmSync(join(folder, "tokenizer.json"));
        return folder;
      });
      await expectFailure(plan(TEXT, folders), "checkpoint/no-tokenizer", "source0", "tokenizer.json");
      await plan("ids: [1, 2]", folders);
    });
  });

  test("an adapter that is not there, and a target that is", async () => {
    await withScratch(async (scratch) => {
      const out = join(scratch, "out");
      const run = (target: string): Promise<void> =>
        withRecipe(recipe(TEXT), SOURCES, (p) => executeTransfer(p, target, { adapter: "no such adapter" }));
      await expectFailure(run(out), "device/unknown-adapter", "no such adapter");
      expect(readdirSync(scratch)).toEqual([]);
      cpSync(SOURCES[0]!, out, { recursive: true });
      await expectFailure(run(out), "checkpoint/target-exists", "out");
    });
  });
});
